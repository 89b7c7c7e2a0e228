"""``python -m benchmarks.uld.alone``: work done in a process of its own, whose memory nothing else has raised before.

The most memory that a process ever held is read from its own status (VmHWM). What `getrusage` tells would not do: it
starts at what the parent process held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.copy_search.__main__ import seconds
from synthrelease.features.neighbours import TILE_COLUMNS, TILE_ROWS, nearest
from synthrelease.features.uld.fitting import fit
from synthrelease.features.uld.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3

FloatArray = npt.NDArray[np.float32]


def alone(task: str, *arguments: str | int) -> dict[str, Any]:
    """Figures of a task (``search GALLERY QUERIES`` or ``fit COHORT STEPS``) done by another process."""
    command = [sys.executable, "-m", "benchmarks.uld.alone", task, *map(str, arguments)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def search(gallery: FloatArray, queries: FloatArray) -> dict[str, float]:
    """Seconds of the search and of the bare product, taken in turn, best of the rounds; memory that the search added."""
    nearest(queries[:8], gallery[:8])
    before = memory_mib("VmRSS")
    rows, _ = nearest(queries, gallery)
    added = memory_mib("VmHWM") - before
    tile = np.zeros((TILE_ROWS, TILE_COLUMNS), dtype=np.float32)
    product(queries[:TILE_ROWS], gallery[: 4 * TILE_COLUMNS], tile)
    took = [(seconds(lambda: product(queries, gallery, tile)), seconds(lambda: nearest(queries, gallery)))]
    for _ in range(ROUNDS - 1):
        took.append((seconds(lambda: product(queries, gallery, tile)), seconds(lambda: nearest(queries, gallery))))
    bare, found = (min(each) for each in zip(*took, strict=True))
    # Queries are rows of the gallery, the last ones, a little off.
    right = np.arange(len(gallery) - len(queries), len(gallery))
    return {
        "product_seconds": bare,
        "search_seconds": found,
        "memory_added_mib": added,
        "right": float((rows == right).mean()),
    }


def product(queries: FloatArray, gallery: FloatArray, tile: FloatArray) -> None:
    """The bare matrix product, tiled as the search tiles it, into memory that is there already."""
    for top in range(0, len(queries), TILE_ROWS):
        part = queries[top : top + TILE_ROWS]
        for left in range(0, len(gallery), TILE_COLUMNS):
            other = gallery[left : left + TILE_COLUMNS]
            np.matmul(part, other.T, out=tile[: len(part), : len(other)])


class Mapped:
    """A cohort of one image each in a memory-mapped file of 16 bits."""

    def __init__(self, path: Path) -> None:
        self._levels = np.load(path, mmap_mode="r")
        self.patient = np.arange(len(self._levels))

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """(n, 1, H, W) in [-1, 1]."""
        return np.asarray(self._levels[rows].astype(np.float32) * np.float32(2 / 65535) - 1)[:, None]


def memory_mib(field: str) -> float:
    """Of this process: VmRSS, what it holds now, or VmHWM, the most that it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def main(task: str, *arguments: str) -> None:
    """Do a task and print its figures as a line of JSON."""
    torch.set_num_threads(1)
    if task == "search":
        gallery, queries = (np.load(path) for path in arguments)
        print(json.dumps(search(gallery, queries)))
    else:
        cohort, steps = arguments
        fit(Mapped(Path(cohort)), Recipe(steps=int(steps)))
        print(json.dumps({"most_memory_mib": memory_mib("VmHWM")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
