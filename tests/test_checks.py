"""What runs before a commit finds nothing: lint, layout, imports and types."""

import subprocess
import sys

import pytest

CHECKS = {
    "lint": ["-m", "ruff", "check", "."],
    "layout": ["-m", "ruff", "format", "--check", "."],
    "imports": ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    "types": ["-m", "mypy"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_finds_nothing(check, root):
    command = [sys.executable, *CHECKS[check]]
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
