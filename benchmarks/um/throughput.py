"""Superpixels a second by threads, and training steps a second against mask-to-image training of the same networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.um.cohorts import MILD
from benchmarks.um.training import train
from benchmarks.um.ways import SUPERPIXELS, MaskGuided, settings
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.procedural import shapes
from synthrelease.generators.um.superpixels import superpixels

SIDE, IMAGES, STEPS, REPEATS = 64, 64, 12, 3


def measured(note: Callable[[str], None], *, quick: bool = False) -> dict[str, Any]:
    """Rates on shapes that are made up: no real image is needed."""
    pictures = shapes(16 if quick else IMAGES, 32 if quick else SIDE, torch.Generator().manual_seed(0))
    rates: dict[str, Any] = {"side": pictures.shape[-1], "superpixels_a_second": {}, "steps_a_second": {}}
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            took = []
            for _ in range(REPEATS):
                began = time.perf_counter()
                superpixels((pictures[:, 0] + 1) / 2, SUPERPIXELS, 0.1)
                took.append(time.perf_counter() - began)
            # The best of several: what else runs on the machine only ever adds.
            rates["superpixels_a_second"][str(threads)] = len(pictures) * SUPERPIXELS / min(took)
            note(f"{threads} threads: {rates['superpixels_a_second'][str(threads)]:.0f} superpixels a second")
    finally:
        torch.set_num_threads(before)
    batch = Batch(pictures, (pictures > 0.3).float(), torch.zeros(len(pictures), dtype=torch.int64))
    spec, size = Spec(pictures.shape[-1], 1, 1), 8
    own = {
        guidance: settings(width=16, batch=size, seed=0, transforms=MILD, guidance=guidance)
        for guidance in ("generated", "procedural")
    }
    baseline = MaskGuided(spec, own["procedural"])
    contenders = {
        "mask to image, one stage": baseline,
        "UM, painter alone": UmGenerator(spec, own["procedural"]),
        "UM, both stages": UmGenerator(spec, own["generated"]),
    }
    for name, generator in contenders.items():
        rates["steps_a_second"][name] = train(generator, batch, steps=2 if quick else STEPS, batch=size)
        note(f"{name}: {rates['steps_a_second'][name]:.2f} steps a second of one core")
    return rates
