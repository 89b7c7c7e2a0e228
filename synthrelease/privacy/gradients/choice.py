"""Which of several equal computations is the quickest for a shape on this machine: tried once, and remembered.

Arithmetic alone does not tell: on one processor a grouped convolution took between 1.1 and 15 times the work of a plain
one, by shape. Shapes are public, the trial runs on random numbers, and every way gives the same result but for
rounding, so the choice tells nothing of a patient.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch

TRIES = 2
HOPELESS = 3.0
"""A way that takes this much longer than the best so far is not tried again."""

_known: dict[tuple[Hashable, tuple[str, ...], int], str] = {}


@dataclass(frozen=True)
class Geometry:
    """What a choice depends on: the operation, the shapes, type and place of its arguments."""

    operation: Any
    first: tuple[int, ...]
    second: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


def cheapest(geometry: Geometry, ways: tuple[str, ...], trial: Callable[[str], None]) -> str:
    """The quickest of ``ways``; they are tried in turns, and each counts by its best time."""
    if len(ways) == 1:
        return ways[0]
    key = (geometry, ways, torch.get_num_threads())
    if key not in _known:
        best = {way: _timed(way, trial, geometry.device) for way in ways}  # warms up, and finds what is hopeless
        for _ in range(TRIES):
            quickest = min(best.values())
            for way in ways:
                if best[way] <= HOPELESS * quickest:
                    best[way] = min(best[way], _timed(way, trial, geometry.device))
        _known[key] = min(best, key=best.__getitem__)
    return _known[key]


def _timed(way: str, trial: Callable[[str], None], device: torch.device) -> float:
    start = _now(device)
    trial(way)
    return _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
