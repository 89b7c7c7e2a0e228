"""What encoders cost: images fitted a second, patches searched a second, and memory that does not grow with a cohort.

One thread throughout; seconds are of a process's own work, since others may use the machine. The search is timed on
some of the patches, among all of them: its cost is proportional to how many are looked up. It stands beside the bare
product of the same vectors, tiled alike. Memory is that of processes which do nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.copy_search.__main__ import seconds
from benchmarks.uld.alone import alone
from benchmarks.uld.reference import goal
from synthrelease.features.uld.fitting import fit
from synthrelease.features.uld.local import LocalRecipe, fit_local
from synthrelease.features.uld.public import public_encoder
from synthrelease.features.uld.recipe import Recipe
from synthrelease.features.uld.sources import ArraySource

NAME = "throughput"

CELLS = 64
"""Patches of an image that are looked up."""

WIDTH = 32
SIDES = (64, 128)
LEAST_SHARE = 0.6
"""Of the bare product's rate, as for whole images."""

MOST_GROWTH_MIB = 64.0
"""That ten times as large a cohort may cost a fit."""


def measure(*, quick: bool, short: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """Figures of fitting, embedding, searching and memory."""
    del short
    torch.set_num_threads(1)
    found: dict[str, Any] = {"fit": {}, "embed": {}}
    steps = 2 if quick else 12
    recipes: dict[str, Recipe | LocalRecipe] = {
        "landmarks, within": Recipe(steps=steps),
        "landmarks, published form": Recipe.paper(steps, 0),
        "copies": replace(LocalRecipe(), steps=steps),
    }
    if quick:
        del recipes["landmarks, published form"]
    for side in SIDES[:1] if quick else SIDES:
        images = invented(64, side)
        for name, recipe in recipes.items():
            note(f"{NAME}: fitting {name} at {side} px")
            sized = replace(recipe, side=side)
            found["fit"][f"{name}, {side} px"] = fitting_rate(ArraySource(images), sized)
        for role in ("landmarks", "copies"):
            note(f"{NAME}: embedding by {role} at {side} px")
            encoder = public_encoder(role)
            shown = images[: 16 if quick else 64]
            encoder.embed(shown[:2])
            rate = len(shown) / seconds(partial(encoder.embed, shown))
            found["embed"][f"{role}, {side} px"] = {"images_a_second": rate}
    note(f"{NAME}: searching patches")
    found["search"] = search(500 if quick else 10_000, 1024 if quick else 4096)
    found["memory"] = {}
    for count in (200, 2000) if quick else (2000, 20_000):
        note(f"{NAME}: memory of a fit to {count} images")
        found["memory"][str(count)] = memory_of_a_fit(count, 1 if quick else 3)
    return found


def invented(count: int, side: int) -> np.ndarray:
    """(N, 1, side, side) smooth random images; what they show does not change what they cost."""
    coarse = torch.randn((count, 1, 16, 16), generator=torch.Generator().manual_seed(side))
    return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(-1, 1).numpy()


def fitting_rate(source: ArraySource, recipe: Recipe | LocalRecipe) -> dict[str, float]:
    """Steps and images a second of a fit, after one that nobody timed."""

    def run(sized: Recipe | LocalRecipe) -> float:
        if isinstance(sized, LocalRecipe):
            return seconds(partial(fit_local, source, sized))
        return seconds(partial(fit, source, sized))

    run(replace(recipe, steps=1))
    rate = recipe.steps / max(run(recipe), 1e-9)
    return {"steps_a_second": rate, "images_a_second": rate * recipe.batch}


def search(images: int, looked_up: int) -> dict[str, float]:
    """Nearest neighbours among images x 64 patches, timed on some, beside the bare matrix product."""
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(images * CELLS, WIDTH)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npy" for name in ("gallery", "queries")]
        for path, vectors in zip(paths, (gallery, gallery[-looked_up:] + np.float32(0.01)), strict=True):
            np.save(path, vectors)
        took = alone("search", *map(str, paths))
    return {
        "gallery_patches": len(gallery),
        "looked_up": looked_up,
        "found_right": took["right"],
        "patches_a_second": looked_up / took["search_seconds"],
        "comparisons_a_second": looked_up * len(gallery) / took["search_seconds"],
        "all_against_all_seconds": took["search_seconds"] * len(gallery) / looked_up,
        "share_of_tiled_product_rate": took["product_seconds"] / took["search_seconds"],
        "gallery_mib": gallery.nbytes / 2**20,
        "memory_added_mib": took["memory_added_mib"],
    }


def memory_of_a_fit(count: int, steps: int) -> dict[str, float]:
    """Most memory, in MiB, of a process that takes some steps on a memory-mapped cohort of 64 px.

    Pages of the cohort that were read are counted with it, though the system takes them back at need.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        levels = np.lib.format.open_memmap(path, mode="w+", dtype="<u2", shape=(count, 64, 64))
        for start in range(0, count, 1000):
            levels[start : start + 1000] = np.random.default_rng(start).integers(0, 65536, (1, 64, 64))
        del levels
        return alone("fit", str(path), steps) | {"pixels_mib": path.stat().st_size / 2**20}


def goals(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The search at 60 % of the bare product's rate; memory that does not follow the cohort."""
    return {
        "patch_search_share_of_tiled_product_rate": goal(
            LEAST_SHARE, figures["search"].get("share_of_tiled_product_rate")
        ),
        "fit_memory_growth_mib_for_ten_times_the_cohort": goal(MOST_GROWTH_MIB, growth(figures), "at most"),
    }


def growth(figures: Mapping[str, Any]) -> float | None:
    """MiB between the smallest and the largest cohort; None where the most memory was not measured."""
    most = [entry.get("most_memory_mib") for entry in figures["memory"].values()]
    return float(most[-1] - most[0]) if len(most) > 1 and None not in (most[0], most[-1]) else None


def page(figures: Mapping[str, Any]) -> list[str]:
    """Tables for people."""
    lines = ["## What it costs", "", "One core; a step is a batch, there and back.", ""]
    lines += ["| fit | steps a second | images a second |", "|---|---|---|"]
    lines += [
        f"| {name} | {f['steps_a_second']:.2f} | {f['images_a_second']:.1f} |" for name, f in figures["fit"].items()
    ]
    lines += ["", "| embed | images a second |", "|---|---|"]
    lines += [f"| {name} | {f['images_a_second']:.0f} |" for name, f in figures["embed"].items()]
    s = figures["search"]
    rows = [
        f"| gallery | {s['gallery_patches']:,} patches of {WIDTH} numbers, {s['gallery_mib']:.0f} MiB |",
        f"| looked up among all | {s['patches_a_second']:,.0f} a second |",
        f"| all against as many | {s['all_against_all_seconds'] / 60:.1f} minutes of one core (timed on {s['looked_up']:,}) |",
    ]
    # Records of before hold figures that were measured otherwise; they are not shown under these names.
    if "share_of_tiled_product_rate" in s:
        rows += [
            f"| the search beside the bare product, tiled alike | {s['share_of_tiled_product_rate']:.0%} of its rate |",
            f"| memory that the search adds to a process of its own | {s['memory_added_mib']:.0f} MiB |",
        ]
    rows += [
        f"| most memory of a process that fits to {int(count):,} images ({m['pixels_mib']:.0f} MiB of pixels) | "
        f"{m['most_memory_mib']:.0f} MiB |"
        for count, m in figures["memory"].items()
        if "most_memory_mib" in m
    ]
    return [*lines, "", "| patches | |", "|---|---|", *rows]
