"""``synthrelease verify``: check a sealed pack and its signature, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console
from synthrelease.errors import UnsuitableData

if TYPE_CHECKING:
    from synthrelease.release.verifying import VerifyResult


@click.command("verify", short_help="Check a sealed pack and its signature, offline.")
@click.argument("pack", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path), metavar="KEY.pub.pem",
    help="Public key that the sender gave by another way.",
)  # fmt: skip
@click.option("--expect", metavar="ROOT", help="Root digest that the sender gave by another way.")
@options.speech
def command(pack: Path, key_file: Path | None, expect: str | None, as_json: bool, quiet: bool) -> int:
    """Check the signature of PACK, every byte against its manifests, its records against each other, and its expiry.

    Exit code 6 when the signature does not hold or a file was changed, added or removed; 7 when the release has expired.
    Without --key and --expect a pack that was replaced as a whole would verify too.
    """
    from datetime import UTC, datetime

    from synthrelease.errors import UsageError
    from synthrelease.release.keys import read_public
    from synthrelease.release.verifying import verify

    console = Console(as_json=as_json, quiet=quiet)
    if not _is_folder(pack):
        raise UsageError(f"there is no folder {pack}", fix="Name the folder of a release pack.")
    key = read_public(key_file) if key_file else None
    result = verify(pack, expect, datetime.now(UTC), key)
    record = result.record
    text = (
        f"{record.name}: {result.files} files are as sealed on {record.released_on[:10]}\n"
        f"{_signature(result)}\n"
        f"root digest {record.root_digest}: {'the one you gave' if result.deposited else 'not compared (no --expect)'}\n"
        f"valid until {record.expires_on[:10]}, approved by {' and '.join(record.approvers)}\n{record.claim}"
    )
    value = {
        "checked_files": result.files,
        "checked_against_expected": result.deposited,
        "signature": result.signature.value,
    }
    console.answer(text, {**record.to_json(), **value})
    return 0


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise UnsuitableData(f"the pack cannot be looked at: {error.strerror}", fix="Check its path.") from error


def _signature(result: VerifyResult) -> str:
    key = result.record.key_id
    return {
        "checked": f"signed by the key you gave, {key}",
        "not checked": f"SIGNATURE NOT CHECKED: give the sender's public key with --key. The pack names the key {key}",
        "not signed": "NOT SIGNED: nothing in this pack proves who sealed it",
    }[result.signature]
