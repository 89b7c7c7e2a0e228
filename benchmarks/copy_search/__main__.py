"""Nearest neighbours of 10,000 in 10,000 beside the bare matrix product, and the search over whole images.

    python -m benchmarks.copy_search [--quick] [--write]

One thread throughout, so that one core is compared with one core; seconds are of this process's own work, since others
may use the machine. ``--quick`` takes 4,000 by 4,000 and fewer images; ``--write`` keeps the result in
``audits/reference/``. The search over whole images is timed on some of the probes: its cost is proportional to them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthrelease.audit.comparisons.whole import WholeImages
from synthrelease.audit.images import ImageSet
from synthrelease.audit.permutation import permutation_p
from synthrelease.audit.search import CopySearch, Patients
from synthrelease.features.neighbours import nearest
from synthrelease.records.files import atomic_write_json, atomic_write_text

REFERENCE = Path(__file__).resolve().parents[2] / "audits" / "reference"
LEAST_SHARE = 0.6
WIDTH = 256
ROUNDS = 3
ROWS = 1000
"""Rows of the bare product at a time: its result must not be what is measured."""


def seconds(act: Callable[[], object]) -> float:
    """Of this process's own work."""
    start = time.process_time()
    act()
    return time.process_time() - start


def peak_mib() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def product(queries: np.ndarray, gallery: np.ndarray) -> None:
    """The bare matrix product, and nothing done with it."""
    result = np.empty((ROWS, len(gallery)), dtype=np.float32)
    for start in range(0, len(queries), ROWS):
        part = queries[start : start + ROWS]
        np.matmul(part, gallery.T, out=result[: len(part)])


def neighbours(count: int) -> dict[str, float]:
    """Rates of the bare product and of the search, in 10^9 operations a second; best of the rounds, taken in turn."""
    rng = np.random.default_rng(0)
    queries, gallery = (rng.normal(size=(count, WIDTH)).astype(np.float32) for _ in range(2))
    product(queries[:ROWS], gallery)
    before = peak_mib()
    bare, search = [], []
    for _ in range(ROUNDS):
        bare.append(seconds(lambda: product(queries, gallery)))
        search.append(seconds(lambda: nearest(queries, gallery)))
    operations = 2.0 * count * count * WIDTH / 1e9
    return {
        "count": count,
        "width": WIDTH,
        "matmul_gflops": operations / min(bare),
        "search_gflops": operations / min(search),
        "search_seconds": min(search),
        "share_of_matmul_rate": min(bare) / min(search),
        "memory_grown_mib": peak_mib() - before,
    }


def invented(seed: int, count: int, first: int) -> ImageSet:
    """Smooth random images of as many patients; what they show does not change what they cost."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(count, 1, 16, 16)).astype(np.float32))
    images = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(-1, 1).numpy()
    return ImageSet(
        images, np.zeros((count, 0, 64, 64), np.float32), np.zeros(count, np.int64), np.arange(first, first + count)
    )


def whole_images(patients: int, probes: int, synthetic: int) -> dict[str, float]:
    """Seconds of the search over whole images, of some probes and, in proportion, of all."""
    train, holdout = invented(1, patients // 2, 0), invented(2, patients // 2, patients)
    both = Patients.of(train, holdout)
    start = time.process_time()
    comparison = WholeImages(both)
    ready = time.process_time() - start
    search = CopySearch(comparison, both, invented(3, probes, 2 * patients))
    took = seconds(lambda: search.synthetic)
    p_took = seconds(lambda: permutation_p(search.synthetic, both.is_train, 999, np.random.default_rng(0)))
    return {
        "real_images": patients,
        "probes_timed": probes,
        "synthetic_images": synthetic,
        "gallery_seconds": ready,
        "milliseconds_a_probe": 1e3 * took / probes,
        "search_seconds": ready + took / probes * synthetic,
        "permutation_milliseconds_an_image": 1e3 * p_took / probes,
    }


def table(figures: dict[str, Any]) -> str:
    """Markdown, for people."""
    near, whole = figures["nearest"], figures["whole_images"]
    return "\n".join(
        [
            "| | value |",
            "|---|---|",
            f"| bare product, {near['count']:,} x {near['count']:,} x {near['width']} | {near['matmul_gflops']:.1f} GFLOP/s |",
            f"| nearest neighbours, the same | {near['search_gflops']:.1f} GFLOP/s, {near['share_of_matmul_rate']:.0%} |",
            f"| memory that the search adds | {near['memory_grown_mib']:.0f} MiB |",
            f"| whole images, one probe among {whole['real_images']:,} | {whole['milliseconds_a_probe']:.1f} ms |",
            f"| whole images, {whole['synthetic_images']:,} among {whole['real_images']:,} | {whole['search_seconds']:.0f} s |",
            f"| 999 permutations, three scores, one image | {whole['permutation_milliseconds_an_image']:.2f} ms |",
        ]
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="4,000 x 4,000 and fewer images")
    parser.add_argument("--write", action="store_true", help="keep the result in audits/reference/")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    sizes = (600, 48, 1000) if wanted.quick else (4000, 256, 2000)
    figures = {"nearest": neighbours(4000 if wanted.quick else 10_000), "whole_images": whole_images(*sizes)}
    share = figures["nearest"]["share_of_matmul_rate"]
    goals = {"share_of_matmul_rate": {"goal": LEAST_SHARE, "value": share, "met": share >= LEAST_SHARE}}
    print(table(figures))
    if wanted.write and not wanted.quick:
        result = {
            "command": "python -m benchmarks.copy_search --write",
            "versions": {name: version(name) for name in ("synthrelease", "numpy", "torch")},
            "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "figures": figures,
            "goals": goals,
        }
        atomic_write_json(REFERENCE / "copy_search.json", result)
        atomic_write_text(
            REFERENCE / "copy_search.md",
            f"# Searching for copies\n\n`{result['command']}`, {result['date']}, {result['hardware']}\n\n{table(figures)}\n\n"
            f"Goal: nearest neighbours at {LEAST_SHARE:.0%} of the bare product's rate or more; "
            f"{'met' if goals['share_of_matmul_rate']['met'] else 'missed'}. One thread; seconds of work, not on the clock. "
            "The search over whole images is extrapolated from the probes that were timed.\n",
        )
    print(
        json.dumps(
            {
                "share_of_matmul_rate": share,
                "whole_images_seconds": figures["whole_images"]["search_seconds"],
                "milliseconds_a_probe": figures["whole_images"]["milliseconds_a_probe"],
                "goals": {name: goal["met"] for name, goal in goals.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
