"""Where passphrases come from: a file, or the person at the terminal. Never from the command line, where others see them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from synthrelease.errors import UsageError
from synthrelease.release.keys import read_passphrase


def new_passphrase(file: Path | None) -> bytes:
    """A passphrase for a new key, asked for twice.

    Raises:
        UsageError: There is no file and nobody to ask.
    """
    if file is not None:
        return read_passphrase(file)
    _require_terminal("Name a file with --passphrase-file, or say --no-passphrase.")
    said: str = click.prompt("Passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True)
    return said.encode()


def old_passphrase(file: Path | None, key: Path) -> bytes:
    """The passphrase of a key that is there.

    Raises:
        UsageError: There is no file and nobody to ask.
    """
    if file is not None:
        return read_passphrase(file)
    _require_terminal("Name a file with --passphrase-file.")
    said: str = click.prompt(f"Passphrase of {key.name}", hide_input=True, err=True)
    return said.encode()


def _require_terminal(fix: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a passphrase", fix=fix)
