"""`python -m autoseg` is the command line."""

import sys

from autoseg.cli import main

if __name__ == "__main__":  # a process that is started by this one looks into it, too
    sys.exit(main())
