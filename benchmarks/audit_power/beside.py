"""The same worlds, seen by others: scores of the literature, and the tools that are installed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.audit_power.peers import PEERS, ask, installed, pooled
from benchmarks.audit_power.scores import SCORES, Distances, max_pearson
from benchmarks.audit_power.worlds import FULL, STYLES, Size, source
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import replace_share

LEAKS: Mapping[str, tuple[str, float]] = {
    "exact 0.1 %": ("exact", 0.001),
    "exact 1 %": ("exact", 0.01),
    "exact 10 %": ("exact", 0.1),
    "noise_5_percent 1 %": ("noise_5_percent", 0.01),
    "gain 1 %": ("gain", 0.01),
    "hflip 1 %": ("hflip", 0.01),
    "hflip 10 %": ("hflip", 0.1),
    "shift_4 10 %": ("shift_4", 0.1),
    "half_image 10 %": ("half_image", 0.1),
    "patch_in_place 10 %": ("patch_in_place", 0.1),
    "mix_50 10 %": ("mix_50", 0.1),
}
INNOCENT = ("clean", "blurred", "noisy")
SETS = (*INNOCENT, *LEAKS)
WITH_LEAKS = 10
"""Worlds of which all sets are scored; of further ones the clean set only, for the oracle threshold."""


def scored(name: str, number: int, *, size: Size = FULL, leaks: bool | None = None) -> dict[str, Any]:
    """The literature's scores of one world: by set, by score."""
    began = time.process_time()
    case = source(name).world(size, number)
    chosen = SETS if (number < WITH_LEAKS if leaks is None else leaks) else ("clean",)
    assert case.holdout is not None
    ours, held = _flat(case.train), _flat(case.holdout)
    table: dict[str, dict[str, float]] = {}
    for each in chosen:
        made = _flat(synthetic(case, each, number))
        distances = Distances.of(ours, held, made)
        table[each] = {score: measure(distances) for score, measure in SCORES.items()}
        table[each]["max Pearson"] = max_pearson(ours, made)
    return {"sets": table, "seconds": time.process_time() - began}


def asked(name: str, number: int, peer: str) -> dict[str, Any]:
    """One tool's statistics of one world, or why there are none."""
    if peer not in installed():
        return {"not_run": "not installed (benchmarks/audit_power/peers/install)"}
    began = time.monotonic()
    case = source(name).world(FULL, number)
    assert case.holdout is not None
    wanted = [each for each in SETS if not PEERS[peer].sets or each in PEERS[peer].sets]
    sets = {each: pooled(synthetic(case, each, number).images) for each in wanted}
    answers = ask(peer, pooled(case.train.images), pooled(case.holdout.images), sets)
    return {"sets": answers, "wall_seconds": time.monotonic() - began}


def synthetic(case: AuditCase, name: str, number: int) -> ImageSet:
    """The synthetic images of one set: innocent in a style, or with leaks."""
    rng = np.random.default_rng([number, zlib.crc32(name.encode())])
    if name in LEAKS:
        transform, share = LEAKS[name]
        return replace_share(case.synthetic, case.train, transform, max(1, round(share * len(case.synthetic))), rng)
    images = case.synthetic.images
    if name != "clean":
        images = np.clip(STYLES[name](images, rng), -1.0, 1.0).astype(np.float32)
    return ImageSet(images, case.synthetic.masks, case.synthetic.labels, case.synthetic.patient)


def _flat(images: ImageSet) -> Any:
    return images.small.reshape(len(images), -1).astype(np.float64)
