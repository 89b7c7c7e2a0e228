"""The recorded run: um.json, the page for people, and guidance, image and mask side by side."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.dp_step.reference import processor
from benchmarks.um import measuring
from benchmarks.um.cohorts import of_rows
from benchmarks.um.training import train
from benchmarks.um.ways import settings
from synthrelease.audit.pairs import paired_gain
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.generators.um.model import UmGenerator
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text

ROOT = Path(__file__).resolve().parents[2]
MASKS: tuple[int | None, ...] = (50, 25, 100, None)
SEEDS = (0, 1, 2)
SHOWN = 10
COMPARED = {
    "um_above_mask_conditioned": (measuring.UM, measuring.MASKED),
    "few_and_um_above_few": (measuring.BOTH, measuring.FEW),
}

Rows = dict[str, dict[str, dict[str, Any]]]
"""Figures by cohort, then by number of masks and seed."""


def kept_at(cohort: str, masks: int | None, seed: int) -> Path:
    """Where a row is kept, so that a run goes on where another stopped."""
    return ROOT / "build" / "um" / f"{cohort}-{masks or 'all'}-{seed}.json"


def rows(
    cohorts: Sequence[str],
    masks: Sequence[int | None],
    seeds: Sequence[int],
    note: Callable[[str], None],
    *,
    quick: bool,
) -> Rows:
    """Every row that was asked for; measured ones are not measured again.

    Scales and tasks are compared at every seed of the first number of masks, and at the first seed of the others.
    """
    found: Rows = {cohort: {} for cohort in cohorts}
    for seed in seeds:
        for cohort in cohorts:
            for used in masks:
                kept = kept_at(cohort, used, seed)
                if kept.is_file() and not quick:
                    figures = json.loads(kept.read_text(encoding="utf-8"))
                else:
                    effort = measuring.QUICK if quick else measuring.WHOLE
                    whole = used == MASKS[0] or seed == SEEDS[0]
                    figures = measuring.row(cohort, used, seed, effort, note, scales=whole)
                    if not quick:
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        atomic_write_json(kept, figures)
                found[cohort][f"{used or 'all'}/{seed}"] = figures
    return found


def measured_so_far() -> Rows:
    """Every row that is kept."""
    found: Rows = {}
    for cohort in measuring.COHORTS:
        for masks in MASKS:
            for seed in SEEDS:
                kept = kept_at(cohort, masks, seed)
                if kept.is_file():
                    name = f"{masks or 'all'}/{seed}"
                    found.setdefault(cohort, {})[name] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def recorded() -> dict[str, Any]:
    """Gains and scales by cohort that the record on disk has, and each one's day; nothing where there is no record."""
    path = ROOT / "audits" / "reference" / "um.json"
    if not path.is_file():
        return {"gains": {}, "scales_tasks": {}}
    told = json.loads(path.read_text(encoding="utf-8"))
    for of_cohort in told["figures"]["gains"].values():
        for each in of_cohort.values():
            each.setdefault("date", told["date"])
    return {name: told["figures"][name] for name in ("gains", "scales_tasks")}


def gains(of_cohort: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Paired gains by number of masks: each held-out case counts once, its Dice averaged over seeds."""
    found: dict[str, dict[str, Any]] = {}
    for masks in dict.fromkeys(name.split("/")[0] for name in of_cohort):
        seeds = [figures["dice"] for name, figures in of_cohort.items() if name.split("/")[0] == masks]
        mean = {way: np.mean([each[way] for each in seeds], axis=0) for way in measuring.WAYS}
        found[masks] = {"seeds": len(seeds), "dice": {way: float(values.mean()) for way, values in mean.items()}}
        for name, (better, than) in COMPARED.items():
            found[masks][name] = paired_gain(mean[better], mean[than], np.random.default_rng(0))._asdict()
    return found


def result(
    found: Rows,
    bounds: Mapping[str, Mapping[str, float]],
    pace: Mapping[str, Any],
    command: str,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record. A goal is met where the interval of every paired gain lies above nothing, over three seeds.

    Args:
        kept: What :func:`recorded` gave: numbers of masks that were not measured again stay as they were, with their day.
    """
    today = datetime.now(UTC).date().isoformat()
    by_cohort = {cohort: gains(each) for cohort, each in found.items() if each}
    by_cohort = {
        cohort: {masks: {"date": today} | told for masks, told in each.items()} for cohort, each in by_cohort.items()
    }
    scales = _scales_tasks(found)
    for cohort, each in (kept or {}).get("gains", {}).items():
        ours = by_cohort.setdefault(cohort, {})
        for masks, told in each.items():
            if masks not in ours:
                ours[masks] = told
                of_masks = {n: v for n, v in kept["scales_tasks"][cohort].items() if n.split("/")[0] == masks}
                scales.setdefault(cohort, {}).update(of_masks)
    wanted = [str(masks or "all") for masks in sorted(MASKS, key=lambda masks: masks or 10**9)]
    by_cohort = {
        cohort: {masks: each[masks] for masks in sorted(each, key=[*wanted, *each].index)}
        for cohort, each in by_cohort.items()
    }
    goals = {}
    for cohort, each in by_cohort.items():
        for masks, told in ((masks, told) for masks, told in each.items() if masks in wanted):
            for name in COMPARED:
                low, seeds = told[name]["low"], told["seeds"]
                goals[f"{cohort}_{name}_at_{masks}"] = {
                    "goal": 0.0,
                    "value": low,
                    "met": low > 0 and seeds >= len(SEEDS),
                    "seeds": seeds,
                }
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in ("synthrelease", "torch", "numpy")},
        },
        "hardware": processor(),
        "date": today,
        "figures": {"bounds": bounds, "gains": by_cohort, "scales_tasks": scales, "pace": pace},
        "goals": goals,
    }


def _scales_tasks(found: Rows) -> dict[str, Any]:
    return {
        cohort: {name: figures["scales_tasks"] for name, figures in each.items() if figures["scales_tasks"]}
        for cohort, each in found.items()
    }


def page(record: Mapping[str, Any]) -> str:
    """Tables for people."""
    figures = record["figures"]
    lines = [
        "# Image and mask from few masks",
        "",
        f"`{record['command']}`, {record['date']}, {record['hardware']}.",
        "",
    ]
    lines += [
        "## What superpixels allow",
        "",
        "Mean Dice of held-out masks when each superpixel takes what most of it is.",
    ]
    lines += [
        "",
        "| cohort | " + " | ".join(map(str, measuring.BOUND_COUNTS)) + " |",
        "|---|" + "---|" * len(measuring.BOUND_COUNTS),
    ]
    for cohort, bound in figures["bounds"].items():
        lines.append(
            f"| {cohort} | " + " | ".join(f"{bound[str(count)]:.3f}" for count in measuring.BOUND_COUNTS) + " |"
        )
    lines += ["", "## Dice on real held-out images of a segmenter taught by", ""]
    lines += [
        "| cohort | masks | seeds | "
        + " | ".join(measuring.WAYS)
        + " | UM above mask-conditioned | few + UM above few | measured on |"
    ]
    lines += ["|---|---|---|" + "---|" * (len(measuring.WAYS) + 3)]
    for cohort, each in figures["gains"].items():
        for masks, told in each.items():
            cells = [f"{told['dice'][way]:.3f}" for way in measuring.WAYS]
            cells += [
                f"{told[n]['mean']:+.3f} ({told[n]['low']:+.3f} to {told[n]['high']:+.3f}), p {told[n]['p_value']:.1e}"
                for n in COMPARED
            ]
            cells.append(told["date"])
            lines.append(f"| {cohort} | {masks} | {told['seeds']} | " + " | ".join(cells) + " |")
    lines += ["", "Intervals are over cases, each averaged over seeds; p is Wilcoxon's signed-rank, two-sided.", ""]
    lines += ["## Distance and variety over scales and tasks", ""]
    lines += ["| cohort | masks/seed | of | MM-FID | MM-STD |", "|---|---|---|---|---|"]
    for cohort, each in figures["scales_tasks"].items():
        for name, told in each.items():
            for way, value in told["distance"]["mm_fid"].items():
                lines.append(f"| {cohort} | {name} | {way} | {value:.3f} | {told['variety']['mm_std'][way]:.3f} |")
    lines += ["", "Each cell normalised across the four; raw cells are in um.json.", ""]
    if figures["pace"]:
        pace = figures["pace"]
        lines += [f"## Pace, at {pace['side']} px", ""]
        lines += [
            f"* {rate:.0f} superpixels a second on {n} thread(s)" for n, rate in pace["superpixels_a_second"].items()
        ]
        lines += [
            f"* {rate:.2f} training steps of 8 images a CPU second: {n}" for n, rate in pace["steps_a_second"].items()
        ]
    return "\n".join(lines) + "\n"


def picture(cohort: str, effort: measuring.Effort, note: Callable[[str], None]) -> bytes:
    """Generated guidance, image and mask under each other, a block a class, as PNG; nothing real is in it."""
    sides = measuring.COHORTS[cohort](effort.side, effort.train, effort.held_out)
    known = torch.arange(len(sides.train.labels)) < 50
    masks = sides.train.masks * known[:, None, None, None]
    pool = Batch(sides.train.images, masks, sides.train.labels, labelled=known)
    generator = UmGenerator(
        Spec(effort.side, len(sides.classes), 1),
        settings(width=effort.width, batch=effort.batch, seed=0, transforms=sides.transforms),
    )
    train(generator, of_rows(pool, torch.arange(len(known))), steps=effort.steps, batch=effort.batch, note=note)
    rng, blocks = torch.Generator().manual_seed(1), []
    for label, name in enumerate(sides.classes):
        labels = torch.full((SHOWN,), label)
        maps = generator.sample_maps(labels, rng)
        made = generator.painted(maps, labels)
        strips = [torch.cat(list(x[:, 0]), dim=1) for x in (maps, made.images, 2 * made.masks - 1)]
        grey = ((torch.cat(strips) + 1) * 127.5).clamp(0, 255).byte().numpy()
        block = Image.fromarray(grey).resize((grey.shape[1] * 3, grey.shape[0] * 3), Image.Resampling.NEAREST)
        framed = Image.new("L", (block.width, block.height + 14), 255)
        framed.paste(block, (0, 14))
        ImageDraw.Draw(framed).text((2, 1), f"{name}: generated map, image, {sides.segment}", fill=0)
        blocks.append(framed)
    whole = Image.new("L", (blocks[0].width, sum(block.height for block in blocks)), 255)
    for number, block in enumerate(blocks):
        whole.paste(block, (0, number * block.height))
    stream = BytesIO()
    whole.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def write(record: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """audits/reference/um.json, .md and a picture a cohort."""
    folder = ROOT / "audits" / "reference"
    atomic_write_json(folder / "um.json", dict(record))
    atomic_write_text(folder / "um.md", page(record))
    for cohort, content in pictures.items():
        atomic_write_bytes(folder / f"um_{cohort}.png", content)
