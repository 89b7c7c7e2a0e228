"""The recorded run: um.json, the page for people, and guidance, image and mask side by side.

Rows are kept, each with its day and the digest of effort and code that it follows from, and told with both: measuring one takes
up to an hour, so that an earlier code's stays until it is measured again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.codes import digest_of, matching
from benchmarks.dp_step.reference import processor
from benchmarks.um import jobs as whole_jobs
from benchmarks.um import measuring
from benchmarks.um.cohorts import of_rows
from benchmarks.um.training import train
from benchmarks.um.ways import settings
from synthrelease.audit.pairs import paired_gain
from synthrelease.audit.task_cells import NAMED
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

CODE = (
    *(f"benchmarks/um/{name}.py" for name in ("cohorts", "measuring", "segmenter", "training", "ways")),
    "benchmarks/pediatric.py",
    "synthrelease/features/**/*",
    "synthrelease/generators/*.py",
    "synthrelease/generators/um/*.py",
    "synthrelease/policy/generators.py",
    "synthrelease/training/loop.py",
    *(f"synthrelease/audit/{name}.py" for name in ("fidelity", "images", "networks", "scales_tasks", "task_cells")),
)
"""What a row follows from, the data aside."""

FIGURES = ("bounds", "gains", "scales_tasks", "pace", "jobs")
Rows = dict[str, dict[str, dict[str, Any]]]
"""Figures by cohort, then by number of masks and seed."""


def kept_at(cohort: str, masks: int | None, seed: int) -> Path:
    """Where a row is kept, so that a run goes on where another stopped."""
    return ROOT / "build" / "um" / f"{cohort}-{masks or 'all'}-{seed}.json"


def kept_row(kept: Path) -> dict[str, Any]:
    """A row that is kept; one of before rows told their day and code has the file's day and no code."""
    figures: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return {"date": _day(kept.stat().st_mtime), "code": None} | figures


def code_digest() -> str:
    """Of the effort and of everything else that a row follows from, the data aside."""
    return digest_of(ROOT, matching(ROOT, CODE), json.dumps(asdict(measuring.WHOLE)))


def _day(seconds: float | None = None) -> str:
    """Of a time since 1970; None: today."""
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.date().isoformat()


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
    code = code_digest()  # of what runs: files may be edited before the last row is measured
    for seed in seeds:
        for cohort in cohorts:
            for used in masks:
                kept = kept_at(cohort, used, seed)
                if kept.is_file() and not quick:
                    figures = kept_row(kept)
                else:
                    effort = measuring.QUICK if quick else measuring.WHOLE
                    whole = used == MASKS[0] or seed == SEEDS[0]
                    figures = measuring.row(cohort, used, seed, effort, note, scales=whole)
                    figures = {"date": _day(), "code": code} | figures
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
                    found.setdefault(cohort, {})[name] = kept_row(kept)
    return found


def recorded() -> dict[str, Any]:
    """What the record on disk has; gains, scales and whole jobs each with days and codes. Nothing where there is no record."""
    path = ROOT / "audits" / "reference" / "um.json"
    if not path.is_file():
        return {name: {} for name in FIGURES}
    told = json.loads(path.read_text(encoding="utf-8"))
    kept: dict[str, Any] = {name: told["figures"].get(name, {}) for name in FIGURES}
    # Older records tell the day of the whole or of a number of masks, and no code.
    for cohort, each in kept["gains"].items():
        for masks, gain in each.items():
            day = gain.setdefault("date", told["date"])
            gain.setdefault("codes", [None])
            for name, scales in kept["scales_tasks"].get(cohort, {}).items():
                if name.split("/")[0] == masks:
                    scales.setdefault("date", day)
                    scales.setdefault("codes", [None])
    return kept


def gains(of_cohort: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Paired gains by number of masks, with days and codes: each held-out case counts once, its Dice averaged over seeds.

    Owners are drawn again, not cases; kept rows of before they were told have a case each.
    """
    found: dict[str, dict[str, Any]] = {}
    for masks in dict.fromkeys(name.split("/")[0] for name in of_cohort):
        seeds = [figures for name, figures in of_cohort.items() if name.split("/")[0] == masks]
        mean = {way: np.mean([each["dice"][way] for each in seeds], axis=0) for way in measuring.WAYS}
        found[masks] = {
            **_measured(seeds),
            "seeds": len(seeds),
            "dice": {way: float(values.mean()) for way, values in mean.items()},
        }
        for name, (better, than) in COMPARED.items():
            found[masks][name] = paired_gain(
                mean[better], mean[than], np.random.default_rng(0), owners=seeds[0].get("owners")
            )._asdict()
    return found


def _measured(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """First and last day of rows, and the codes that they follow from; None: before rows told."""
    days, codes = sorted({each["date"] for each in seeds}), {each["code"] for each in seeds}
    return {
        "date": " to ".join(dict.fromkeys((days[0], days[-1]))),
        "codes": sorted(codes, key=lambda code: code or ""),
    }


def measured_on(told: Mapping[str, Any], code: str) -> str:
    """Days, and whether ``code`` is the one that measured."""
    if told["codes"] == [code]:
        return str(told["date"])
    return f"{told['date']}, {'some seeds ' if code in told['codes'] else ''}by an earlier code"


def result(
    found: Rows,
    bounds: Mapping[str, Mapping[str, float]],
    pace: Mapping[str, Any],
    command: str,
    kept: Mapping[str, Any] | None = None,
    jobs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record. A goal is met where the interval of every paired gain lies above nothing, over three seeds.

    Args:
        jobs: What :func:`benchmarks.um.jobs.measured` gave; None: as in ``kept``.
        kept: What :func:`recorded` gave: numbers of masks that were not measured again stay as they were, with their day.
    """
    by_cohort = {cohort: gains(each) for cohort, each in found.items() if each}
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
    done = (kept or {}).get("jobs", {})
    if jobs is not None:
        done = {"date": _day(), "codes": [whole_jobs.code_digest()], "by_name": jobs}
    if done:
        goals |= whole_jobs.goals(done["by_name"])
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in ("synthrelease", "torch", "numpy")},
        },
        "hardware": processor(),
        "date": _day(),
        "figures": {"bounds": bounds, "gains": by_cohort, "scales_tasks": scales, "pace": pace, "jobs": done},
        "goals": goals,
    }


def _scales_tasks(found: Rows) -> dict[str, Any]:
    return {
        cohort: {
            name: _measured([figures]) | figures["scales_tasks"]
            for name, figures in each.items()
            if figures["scales_tasks"]
        }
        for cohort, each in found.items()
    }


def page(record: Mapping[str, Any]) -> str:
    """Tables for people."""
    figures, code = record["figures"], code_digest()
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
            cells.append(measured_on(told, code))
            lines.append(f"| {cohort} | {masks} | {told['seeds']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Intervals are over children, and over runs of 20 neighbouring slices of brains, whose patients are not told (rows of "
        "before: over cases), each averaged over seeds; p is Wilcoxon's signed-rank, two-sided.",
        "",
    ]
    lines += ["## Distance and variety over scales and tasks", ""]
    lines += ["| cohort | masks/seed | of | MM-FID | MM-STD | measured on |", "|---|---|---|---|---|---|"]
    for cohort, each in figures["scales_tasks"].items():
        for name, told in each.items():
            for way in told["distance"]["mm_fid"]:
                cells = [_with_ends(told["distance"], "mm_fid", way), _with_ends(told["variety"], "mm_std", way)]
                lines.append(f"| {cohort} | {name} | {way} | {' | '.join(cells)} | {measured_on(told, code)} |")
    lines += [
        "",
        "Each cell normalised across the four; raw cells are in um.json. Intervals are over random halves of the held-out images, "
        "of one trained generator; older rows have none.",
        *_tasks(figures["scales_tasks"]),
        "",
    ]
    if figures.get("jobs"):
        told = figures["jobs"]
        lines += whole_jobs.lines(told["by_name"], measured_on(told, whole_jobs.code_digest()))
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


def _with_ends(told: Mapping[str, Any], together: str, way: str) -> str:
    """A figure, with its interval where the row has one."""
    value = f"{told[together][way]:.3f}"
    if f"{together}_low" not in told:
        return value
    return f"{value} ({told[f'{together}_low'][way]:.3f} to {told[f'{together}_high'][way]:.3f})"


def _tasks(by_cohort: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the scales were looked at for, and what could not be looked for: a line for each set of tasks that rows have."""
    lines: dict[str, list[str]] = {}
    for cohort, each in by_cohort.items():
        for name, told in each.items():
            reasons = dict.fromkeys((n for n in NAMED if n not in told["tasks"]), "reason not recorded")
            left_out = "; ".join(
                f"{task} ({' '.join(why.split())})" for task, why in (reasons | told.get("left_out", {})).items()
            )
            line = f"Tasks: {', '.join(told['tasks'])}. Left out: {left_out or 'none'}."
            lines.setdefault(line, []).append(f"{cohort} {name}")
    return [text for line, rows in lines.items() for text in ("", f"{line} ({', '.join(rows)})")]


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
