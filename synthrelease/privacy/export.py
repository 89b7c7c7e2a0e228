"""What must not be in a folder that leaves the house, whatever put it there.

The guarantee covers what is computed from noisy results. Losses and clip counts of real patients, look-alike pairs, the pixel
store, the state that a trainer goes on from, and an encoder that was fitted to patients are not: one such file beside a
private archive undoes it. Weights are known by their content too, whatever the file is called.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from synthrelease.privacy.strict import StrictProblem, seeds_of_noise

INTERNAL: tuple[tuple[str, str], ...] = (
    ("*.private", "is private by name"),
    ("*.private.*", "is private by name"),
    ("checkpoint*", "is state of the trainer"),
    ("account.jsonl", "is state of the trainer"),
    ("*.safetensors", "holds weights or sums of the trainer"),
    ("*.pt", "holds weights or state of the trainer"),
    ("*.pth", "holds weights or state of the trainer"),
    ("*.ckpt", "holds weights or state of the trainer"),
    ("*.pkl", "holds objects that nobody can check"),
    ("*.np[yz]", "holds arrays of a store"),
    ("report-internal*", "shows real patients"),
    ("audit-annex*", "names real patients"),
    ("source.*", "names the private archive"),
    ("run.json", "is state of the trainer"),
)
"""Pattern of a file's or folder's name, and why it stays."""

LOOKED_AT = 4096
"""Bytes at the start of a file that tell whether it holds weights."""

_LONGEST_HEADER = 100_000_000
_INTERNAL_EDITION = 'name="synthrelease-edition" content="internal"'


def export_problems(folder: Path) -> tuple[StrictProblem, ...]:
    """Every internal artefact below a folder that is about to leave.

    Names and first bytes of all files are looked at; of JSON, JSON-lines and HTML files also the content.

    Args:
        folder: A pack before it is sealed, or anything else to be handed on.
    """
    return tuple(StrictProblem("nothing_internal_is_exported", message) for message in _found(folder))


def weights_in(head: bytes) -> str:
    """What a file that begins like this holds of a network; empty: nothing.

    A safetensors file is eight bytes of length and a JSON object; one of PyTorch is a ZIP file of pickles.

    Args:
        head: The first `LOOKED_AT` bytes, or the whole of a shorter file.

    >>> weights_in(b"SOPInstanceUID,label"), weights_in((2).to_bytes(8, "little") + b"{}")
    ('', 'holds weights')
    """
    if head.startswith(b"PK\x03\x04") and b"data.pkl" in head[:256]:
        return "holds weights"
    if len(head) < 10 or not 2 <= struct.unpack("<Q", head[:8])[0] <= _LONGEST_HEADER or head[8:9] != b"{":
        return ""
    fitted_to_patients = b"cohort_digests" in head and b'cohort_digests\\":[]' not in head
    return "holds an encoder of patients' images" if fitted_to_patients else "holds weights"


def _found(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = ascii(path.relative_to(folder).as_posix())[1:-1]
        reason = next((why for pattern, why in INTERNAL if fnmatch(path.name.casefold(), pattern)), None)
        if path.is_symlink():
            yield f"{name} is a link, which may lead anywhere"
        elif reason is not None:
            yield f"{name} {reason}"
        elif path.is_file():
            yield from (f"{name} {why}" for why in _inside(path))


def _inside(path: Path) -> Iterator[str]:
    """What is wrong with the content of one file."""
    with path.open("rb") as stream:
        found = weights_in(stream.read(LOOKED_AT))
    if found:
        yield found
        return
    kind = path.suffix.casefold()
    if kind not in (".json", ".jsonl", ".html"):
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if kind == ".html":
        if _INTERNAL_EDITION in text[:65536]:
            yield "is the internal edition of a report"
        return
    try:
        values = [json.loads(part) for part in ([text] if kind == ".json" else text.split("\n")) if part.strip()]
    except ValueError:
        yield "cannot be read, so nobody can tell what it holds"
        return
    unmarked = "internal" if path.name.startswith("events") else "release"
    hidden = sum(isinstance(value, dict) and value.get("visibility", unmarked) != "release" for value in values)
    if hidden:
        yield f"holds {hidden} entries that are not marked for release"
    for where in sorted({where for value in values for where in seeds_of_noise(value)}):
        yield f"records {where}"
