"""``synthrelease keygen``: make the key that signs releases."""

from __future__ import annotations

from pathlib import Path

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("keygen", short_help="Make the key that signs releases.")
@click.option(
    "--out", "target", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="KEY.pem",
    help="The private key; its public half goes beside it, into KEY.pub.pem. Neither is ever overwritten.",
)  # fmt: skip
@options.passphrase_file
@click.option("--no-passphrase", is_flag=True, help="Leave the private key in the clear, for its owner alone to read.")
@options.speech
def command(target: Path, passphrase_file: Path | None, no_passphrase: bool, as_json: bool, quiet: bool) -> int:
    """Make an Ed25519 key pair; the passphrase is asked for unless it is in a file.

    Keep the private key where releases are sealed. Give the public key and its id to recipients by another way than the
    packs: in a contract, on a web page of the house, by telephone.
    """
    from synthrelease.cli.passphrases import new_passphrase
    from synthrelease.errors import UsageError
    from synthrelease.release.keys import generate, public_path

    console = Console(as_json=as_json, quiet=quiet)
    if no_passphrase and passphrase_file is not None:
        raise UsageError("--passphrase-file and --no-passphrase contradict each other", fix="Give one of them.")
    made = generate(target, None if no_passphrase else new_passphrase(passphrase_file))
    public = public_path(target)
    clear = "\nNo passphrase: whoever can read the file can sign in your name." if no_passphrase else ""
    console.answer(
        f"private key  {target}\npublic key   {public}\nkey id       {made}\n"
        f"Give the public key and its id to recipients by another way than the packs.{clear}",
        {"private_key": str(target), "public_key": str(public), "key_id": made, "encrypted": not no_passphrase},
    )
    return 0
