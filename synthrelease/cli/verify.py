"""``synthrelease verify``: check a sealed pack, offline."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("verify", short_help="Check a sealed pack, offline.")
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--expect", metavar="ROOT", help="Root digest that the sender gave by another way.")
@options.speech
def command(pack: Path, expect: str | None, as_json: bool, quiet: bool) -> int:
    """Check every byte of PACK against its manifest, its records against each other, and its expiry.

    Exit code 6 when a file was changed, added or removed; 7 when the release has expired. Without --expect a pack that
    was replaced as a whole would verify too.
    """
    from datetime import UTC, datetime

    from synthrelease.errors import UsageError
    from synthrelease.release.verifying import verify

    console = Console(as_json=as_json, quiet=quiet)
    if not pack.is_dir():
        raise UsageError(f"there is no folder {pack}", fix="Name the folder of a release pack.")
    result = verify(pack, expect, datetime.now(UTC))
    record = result.record
    against = "the root digest you gave" if result.deposited else "its own manifest only (no --expect)"
    text = (
        f"{record.name}: {result.files} files are as sealed on {record.released_on[:10]}, checked against {against}\n"
        f"valid until {record.expires_on[:10]}, approved by {' and '.join(record.approvers)}\n{record.claim}"
    )
    console.answer(
        text, {**record.to_json(), "checked_files": result.files, "checked_against_expected": result.deposited}
    )
    return 0
