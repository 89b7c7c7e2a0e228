"""The house keeps its rules: what may import what, what --help costs, what no file may say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import synthrelease
from synthrelease.cli.group import VERBS

PACKAGE = Path(synthrelease.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOT = Path(__file__).parents[2]


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after("from synthrelease.cli.group import run\nrun(['--help'])\nrun(['train', '--help'])")
    assert not loaded & {"torch", "numpy", "scipy", "pydicom", "highdicom", "opacus", "pydantic", "dp_accounting"}


def test_governance_runs_without_a_deep_learning_stack() -> None:
    loaded = modules_after(
        "import synthrelease.release, synthrelease.policy.loader, synthrelease.records.ledger, synthrelease.records.runs\n"
        "import importlib, pkgutil\n"
        "for m in pkgutil.iter_modules(synthrelease.release.__path__): importlib.import_module(f'synthrelease.release.{m.name}')"
    )
    assert not loaded & {"torch", "opacus", "highdicom", "pydicom"}


@pytest.mark.parametrize("verb", [verb for _, verbs in VERBS for verb, _ in verbs])
def test_every_verb_has_its_file_and_its_help(verb: str) -> None:
    from click.testing import CliRunner

    from synthrelease.cli.group import group

    shown = CliRunner().invoke(group, [verb, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 5


def test_nothing_prints_but_the_command_line() -> None:
    printing = re.compile(r"^\s*(print|click\.echo)\(", re.MULTILINE)
    guilty = [path.name for path in SOURCES if "cli" not in path.parts and printing.search(path.read_text())]
    assert guilty == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "helpers", "common", "manager", "misc", "util", "helper"}
    assert [path for path in SOURCES if path.stem in empty] == []


def test_modules_stay_readable() -> None:
    assert [f"{path.name}: {n}" for path in SOURCES if (n := len(path.read_text().splitlines())) > 400] == []


def test_no_page_for_people_holds_a_blank_that_nobody_filled() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r"(?<!`)\{[a-z_]+\}", text), page.name
