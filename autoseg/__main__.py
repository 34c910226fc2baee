"""`python -m autoseg` is the command line."""

import sys

from autoseg.cli import main

sys.exit(main())
