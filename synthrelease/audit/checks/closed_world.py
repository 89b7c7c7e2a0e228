"""Closed world: an archive of ours holds nothing but what its public policy makes, and pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.closed_world import (
    NOT_ORDINARY,
    compared_at,
    entries_below,
    file_problems,
    listing_problems,
)
from synthrelease.audit.expectation import Expectation
from synthrelease.audit.measurement import Explanation, Measurement, unable
from synthrelease.audit.parallel import over_files
from synthrelease.dicom.release.layout import FileKind
from synthrelease.dicom.template import PIXELS
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic
from synthrelease.records.manifest import MANIFEST

NAME = "files that are not what the policy makes"
ENOUGH = 20_000
"""Files from which on several processes are sooner done than one: a file takes less than half a millisecond."""

FLIPS = 40
NOT_APPLICABLE = (
    "not applicable: synthrelease did not write this archive from a policy that is at hand, so nothing says what its "
    "bytes must be"
)
NOTE = "Pixel values are left to other checks; times, owners and extended attributes of files are not looked at"


class ClosedWorld:
    """Every byte outside the slots against templates from the policy, every slot against the release's own recipe."""

    id = "closed_world"
    question = "Does the archive hold anything, in any byte or name, that its public policy does not make?"
    criterion = Criterion.CONFORMANCE
    needs_sound_split = False
    explanation = Explanation(
        how="From the public policy alone it is computed what every outgoing file must be, byte by byte. What is in the "
        "folder is held against that; only pixels and the slots that the policy names may differ.",
        good="Not one byte differs, no file is missing and none is there beside.",
        weakness="It asks nothing of the pixels, and it can only be asked of archives that this version of synthrelease wrote.",
        source="Allow-listing instead of searching for known leaks: the closed-world assumption (Reiter 1978) applied to "
        "DICOM PS3.10 files.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Count files that differ, are missing or too many; change copies of clean ones to measure what is seen."""
        if case.expectation is None:
            return unable(NAME, Direction.LOWER, NOT_APPLICABLE, not_applicable=True)
        if case.synthetic_folder is None:
            return unable(NAME, Direction.LOWER, "the folder of the synthetic files was not given")
        folder, expectation = case.synthetic_folder, case.expectation
        entries = entries_below(folder)
        files = [path for path, ordinary in entries if ordinary]
        wrong: Counter[str] = Counter({NOT_ORDINARY: len(entries) - len(files)})
        differing = len(entries) - len(files)
        digests: list[str] = []
        clean: dict[str, str] = {}
        ask = partial(compared_at, folder=folder, expectation=expectation)
        for path, found in zip(files, over_files(ask, [folder / f for f in files], enough=ENOUGH), strict=True):
            digests.append(found.digest)
            wrong.update(found.problems)
            differing += bool(found.problems)
            if not found.problems:
                clean.setdefault(kind_of(path, expectation), path)
        manifest = (folder / MANIFEST).read_bytes() if MANIFEST in files else None
        listed = listing_problems(files, digests, manifest, expectation)
        differing += listed.total()
        wrong += listed
        planted = _planted(clean, folder, expectation, rng)
        count = float(differing)
        return Measurement(
            Statistic(NAME, count, count, count, 1.0, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(1.0, "outgoing files", planted),
            {"outgoing_files": len(files), "images": expectation.images},
            controls_missed=tuple(name for name, share in planted.items() if share < 1),
            note=f"{differing} of {len(files)} outgoing files are not what the policy makes. {NOTE}",
            details={"problems": dict(wrong.most_common(20)), "templates": len(list(expectation.release.templates()))},
        )


def kind_of(path: str, expectation: Expectation) -> str:
    """What kind of file a path names, in public words."""
    expected = expectation.release.expected(path)
    return expected.place.kind.name.lower() if expected is not None else path


def _planted(
    clean: Mapping[str, str], folder: Path, expectation: Expectation, rng: np.random.Generator
) -> dict[str, float]:
    """Share of changed copies that are seen, by kind of change; kinds that the archive has no file for are left out."""
    found: dict[str, list[bool]] = {}
    for path in clean.values():
        if path != MANIFEST:
            content = (folder / path).read_bytes()
            for kind, changed, name in _changes(content, path, expectation, rng):
                found.setdefault(kind, []).append(bool(file_problems(changed, name, expectation)))
    return {kind: float(np.mean(seen)) for kind, seen in found.items()}


def _changes(
    content: bytes, path: str, expectation: Expectation, rng: np.random.Generator
) -> Iterator[tuple[str, bytes, str]]:
    """(kind of change, changed content, name under which it lies) for one clean file."""
    expected = expectation.release.expected(path)
    yield "one more byte", content + b"\0", path
    yield "one byte less", content[:-1], path
    yield "another name", content, path + "1"
    if expected is None:
        for place in rng.integers(0, len(content), FLIPS):
            yield "one bit of a text", _flipped(content, int(place), rng), path
        return
    template = next(t for t in expected.templates if not t.problems(content))
    pixels = next((slot for slot in template.slots if slot.name == PIXELS), None)
    before_pixels = pixels.start if pixels is not None else len(template.content)
    for place in rng.integers(0, before_pixels, FLIPS):
        yield "one bit of a header", _flipped(content, int(place), rng), path
    for slot in template.slots:
        if slot.name != PIXELS:
            # The same other value in all its places: a file that no template contradicts.
            digit = content[slot.end - 1 : slot.end]
            other = content[slot.start : slot.end - 1] + (b"7" if digit != b"7" else b"3")
            values = template.values(content) | {slot.name: other}
            yield "another value in a slot", template.render(values), path
    if pixels is not None and expectation.release.settings.bits < 16 and expected.place.kind is FileKind.IMAGE:
        yield "an unused bit of a pixel", _with_bit(content, pixels.start + 1, 7), path


def _flipped(content: bytes, place: int, rng: np.random.Generator) -> bytes:
    return _with_bit(content, place, int(rng.integers(8)))


def _with_bit(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)
