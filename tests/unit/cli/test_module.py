"""The package runs as a module, with the exit codes of the command."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("verb", "code"), [("--help", 0), ("nonsense", 2)])
def test_python_dash_m_is_the_command(verb: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-m", "synthrelease", verb], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "synthrelease [OPTIONS] COMMAND" in done.stdout + done.stderr
