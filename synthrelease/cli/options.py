"""Options that several verbs share, each said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def policy(required: bool = True) -> Callable[[F], F]:
    return click.option(
        "--policy", "policy_name", required=required, metavar="FILE", help="Policy file, or a shipped policy's name."
    )


def cohort(command: F) -> F:
    return click.option(
        "--cohort", metavar="DIR", help="Private archive: folder of DICOM, or a table. Overrides cohort.source."
    )(command)


def out(command: F) -> F:
    return click.option(
        "--out", "home", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True,
        help="Folder of runs.",
    )(command)  # fmt: skip


def run(command: F) -> F:
    return click.option("--run", "run_name", metavar="RUN", help="Run name or folder; default: the newest run.")(
        command
    )


def ledger(command: F) -> F:
    return click.option(
        "--ledger", "ledger_home", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
        help="Folder of ledgers, one a cohort; default: OUT/ledgers.",
    )(command)  # fmt: skip


def speech(command: F) -> F:
    command = click.option("--quiet", is_flag=True, help="No progress, only the answer.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)


def dry_run(command: F) -> F:
    return click.option("--dry-run", is_flag=True, help="Say what would happen, write nothing.")(command)


def passphrase_file(command: F) -> F:
    return click.option(
        "--passphrase-file", type=click.Path(path_type=Path), metavar="FILE",
        help="The key's passphrase is the first line of FILE; default: ask.",
    )(command)  # fmt: skip


def resume(command: F) -> F:
    return click.option("--resume", is_flag=True, help="Go on with an interrupted run of the same policy.")(command)


def threads(command: F) -> F:
    return click.option(
        "--threads", type=click.IntRange(1, 256), default=None, help="Threads for training; default: all cores."
    )(command)


def training(command: F) -> F:
    """Every option of a verb that trains, in the order of its help."""
    for option in (speech, dry_run, threads, resume, ledger, out, cohort, policy()):
        command = option(command)
    return command
