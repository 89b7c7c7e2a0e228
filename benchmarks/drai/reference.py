"""The recorded run: drai.json, the page for people, and the grids of content and style."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image, ImageDraw

from benchmarks.audit_power.worlds import cache_folder
from benchmarks.codes import digest_of
from benchmarks.dp_step.reference import HOME, processor
from benchmarks.drai import measuring
from benchmarks.drai.ways import WAYS
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (
    ("class_accuracy", "class of samples", "up"),
    ("class_from_content", "class from content", "up"),
    ("class_from_style", "class from style", "down"),
    ("style_from_style", "style from style", "up"),
    ("style_from_content", "style from content", "down"),
    ("content_from_style", "content from style", "down"),
    ("class_kept", "class kept in swaps", "up"),
    ("style_of_the_style", "style factors by style", "up"),
    ("reconstruction", "reconstruction", "down"),
    ("relative_frechet", "relative FD", "down"),
    ("diversity", "diversity", "to 1"),
    ("style_usage", "style usage", "up"),
    ("cifc_like", "cifc-like", "down"),
    ("cpu_s_a_step", "CPU-s a step", "down"),
)
Rows = dict[str, dict[str, dict[str, Any]]]
"""Figures by row and by seed."""
COHORTS = ("phantoms", "chests")
"""Simulated radiographs, and children's, which are not part of this repository."""
SEEDS = range(5)
"""Of which the first few make the table; five tell whether training holds."""
TABLE_SEEDS = 3
HOLDS = {"class_accuracy": 0.75, "diversity": 0.5, "style_usage": 0.05}
"""What DRAI must have with every seed: below it, classes, variety or the style have collapsed."""


@dataclass(frozen=True)
class Wanted:
    """What shall be measured.

    Attributes:
        cohort: One of ``COHORTS``.
        only: Names of rows; empty: all.
        seeds: The first so many seeds.
        quick: A few steps, kept nowhere.
        fresh: Measure again what the same code has measured before.
    """

    cohort: str = "phantoms"
    only: tuple[str, ...] = ()
    seeds: int = TABLE_SEEDS
    quick: bool = False
    fresh: bool = False


def rows(wanted: Wanted, note: Callable[[str], None]) -> Rows:
    """Every row, seed by seed; what the same code has measured before is not measured again."""
    effort = measuring.QUICK if wanted.quick else measuring.WHOLE
    on: measuring.Bench | None = None
    found: Rows = {way.name: {} for way in WAYS if not wanted.only or way.name in wanted.only}
    for seed in SEEDS[: 1 if wanted.quick else wanted.seeds]:
        for way in WAYS:
            if way.name not in found:
                continue
            kept = kept_at(wanted.cohort, way.name, seed)
            if kept.is_file() and not wanted.quick and not wanted.fresh:
                figures = json.loads(kept.read_text(encoding="utf-8"))
                note(f"{way.name}, seed {seed}: measured before by the same code")
            else:
                on = on or measuring.bench(effort, real=wanted.cohort == "chests")
                figures, generator = measuring.measured(way, seed, on, note)
                if not wanted.quick:
                    content = BytesIO()
                    measuring.picture(generator).save(content, "PNG", optimize=True)
                    atomic_write_bytes(kept.with_suffix(".png"), content.getvalue())
                    atomic_write_json(kept, figures)
            found[way.name][str(seed)] = figures
    return found


def measured_so_far() -> dict[str, Rows]:
    """By cohort, what the same code has measured, whoever started it."""
    found: dict[str, Rows] = {}
    for cohort in COHORTS:
        for way in WAYS:
            for seed in SEEDS:
                kept = kept_at(cohort, way.name, seed)
                if kept.is_file():
                    figures = json.loads(kept.read_text(encoding="utf-8"))
                    found.setdefault(cohort, {}).setdefault(way.name, {})[str(seed)] = figures
    return found


def kept_at(cohort: str, way: str, seed: int) -> Path:
    """Where the figures of one run are kept."""
    return cache_folder() / f"drai-{cohort}-{way.replace(' ', '_')}-{seed}-{code_digest()}.json"


@cache
def code_digest() -> str:
    """Of everything that the figures follow from, as it was when this process began; 12 hexadecimal digits."""
    package = ROOT / "synthrelease"
    files = [*(package / "generators" / "drai").glob("*.py"), *(package / "cohort" / "phantom").glob("*.py")]
    files += [ROOT / "benchmarks" / "drai" / f"{name}.py" for name in ("cohort", "measuring", "probes", "ways")]
    files += [package / "training" / "loop.py", package / "policy" / "generators.py"]
    files += [package / "generators" / f"{name}.py" for name in ("layers", "transforms", "weights")]
    files += [ROOT / "benchmarks" / "um" / "cohorts.py"]
    return digest_of(ROOT, sorted(files))


def middle(found: Rows, row: str, name: str) -> float | None:
    """Median over seeds; None where the row has no such figure or was not measured."""
    values = [figures[name] for figures in found.get(row, {}).values() if name in figures]
    return median(values) if values else None


def goals(found: Rows) -> dict[str, dict[str, Any]]:
    """What was wanted of DRAI, and what was reached. A gate on conditioning stands first: without it nothing counts."""

    def goal(wanted: float, value: float | None, *, least: bool) -> dict[str, Any]:
        met = value is not None and (value >= wanted if least else value <= wanted)
        return {"goal": wanted, "direction": "at least" if least else "at most", "value": value, "met": met}

    def over(name: str, one: str, other: str) -> float | None:
        first, second = middle(found, one, name), middle(found, other, name)
        return None if first is None or second is None else first - second

    best = max((v for way in WAYS if way.name != "DRAI" and (v := apart(found, way.name)) is not None), default=None)
    own = apart(found, "DRAI")
    real = middle(found, "DRAI", "class_accuracy_real")
    accuracy = middle(found, "DRAI", "class_accuracy")
    fidelity = middle(found, "DRAI", "relative_frechet"), middle(found, "DAI", "relative_frechet")
    return {
        "class_accuracy_over_real": goal(0.8, None if accuracy is None or not real else accuracy / real, least=True),
        "disentanglement_over_the_best_other_row": goal(
            0.0, None if best is None or own is None else own - best, least=True
        ),
        "class_from_style_less_than_dai": goal(-0.1, over("class_from_style", "DRAI", "DAI"), least=False),
        "style_from_content_less_than_dai": goal(-0.1, over("style_from_content", "DRAI", "DAI"), least=False),
        "relative_frechet_over_dai": goal(
            1.1, fidelity[0] / fidelity[1] if fidelity[0] is not None and fidelity[1] else None, least=False
        ),
        "diversity": goal(0.5, middle(found, "DRAI", "diversity"), least=True),
        **{
            f"least_{name}_over_seeds": goal(wanted, least(found, "DRAI", name), least=True)
            for name, wanted in HOLDS.items()
        },
    }


def least(found: Rows, row: str, name: str) -> float | None:
    """Least over seeds; None where the row was not measured with all of them."""
    values = [figures[name] for figures in found.get(row, {}).values() if name in figures]
    return min(values) if len(values) >= len(SEEDS) else None


def apart(found: Rows, row: str) -> float | None:
    """One figure of disentanglement: class from content less class from style, plus style from style less from content."""
    names = ("class_from_content", "class_from_style", "style_from_style", "style_from_content")
    values = [middle(found, row, name) for name in names]
    if any(value is None for value in values):
        return None
    content, leaked, style, mixed = (value or 0.0 for value in values)
    return content - leaked + style - mixed


def result(found: Mapping[str, Rows], *, command: str, pace: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it.

    Args:
        found: By cohort.
        command: That was given.
        pace: See :mod:`benchmarks.drai.pace`.
    """
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "numpy", "torch")},
        "hardware": f"{os.cpu_count()} cores, {processor()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "steps": measuring.WHOLE.steps,
        "figures": dict(found),
        "goals": goals(found.get("phantoms", {})),
        **({} if pace is None else {"pace": dict(pace)}),
    }


def page(record: Mapping[str, Any]) -> str:
    """The tables for people."""
    lines = [
        "# Content and style apart",
        "",
        f"Written by `{record['command']}` on {record['hardware']}, {record['date']}; figures stand in drai.json.",
        f"Every row is trained for {record['steps']} steps at 32 px; figures are medians over the seeds that were run. Content is "
        "the finding, style the rest. Probes are fitted anew on frozen codes and asked of held-out patients; the class of a "
        "sample is told by a classifier of real images that no generator met. Every figure on codes counts only where samples "
        "are of their class.",
    ]
    for cohort, found in record["figures"].items():
        said = "Simulated radiographs" if cohort == "phantoms" else "Radiographs of children"
        real = [figures["class_accuracy_real"] for each in found.values() for figures in each.values()]
        lines += [
            "",
            f"## {said}",
            "",
            f"The classifier is right on {median(real):.2f} of held-out real images, balanced over classes."
            if real
            else "",
            "",
            "| | seeds | " + " | ".join(f"{said} ({way})" for _, said, way in COLUMNS) + " |",
            "|---|---|" + "---|" * len(COLUMNS),
        ]
        for row in found:
            cells = ["-" if (value := middle(found, row, name)) is None else f"{value:.2f}" for name, _, _ in COLUMNS]
            lines.append(f"| {row} | {len(found[row])} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "The cross-image figure is ours, after the paper's idea; a generator that ignores a code scores a perfect 0 there, so "
        "style usage and diversity stand beside it.",
        "",
        "## Goals, on simulated radiographs",
        "",
        "| goal | wanted | reached | met |",
        "|---|---|---|---|",
    ]
    for name, goal in record["goals"].items():
        reached = "-" if goal["value"] is None else f"{goal['value']:.3g}"
        lines.append(
            f"| {name} | {goal['direction']} {goal['goal']:g} | {reached} | {'yes' if goal['met'] else '**no**'} |"
        )
    if pace := record.get("pace"):
        lines += ["", "## Pace", "", pace["said"], "", "| | plain steps/s | private steps/s |", "|---|---|---|"]
        for name, each in pace["steps_per_s"].items():
            lines.append(f"| {name} | {each['plain']:.1f} | {each['private']:.2f} |")
    return "\n".join(lines) + "\n"


def write(record: Mapping[str, Any]) -> None:
    """Write drai.json, drai.md, and drai.png: the phantoms' grids of the first seed, row below row."""
    HOME.mkdir(parents=True, exist_ok=True)
    atomic_write_json(HOME / "drai.json", dict(record))
    atomic_write_text(HOME / "drai.md", page(record))
    sheets = [
        _named(Image.open(path), way.name)
        for way in WAYS
        if (path := kept_at("phantoms", way.name, 0).with_suffix(".png")).is_file()
    ]
    if not sheets:
        return
    whole = Image.new("L", (max(s.width for s in sheets), sum(s.height + 8 for s in sheets)), 255)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height + 8
    content = BytesIO()
    whole.save(content, "PNG", optimize=True)
    atomic_write_bytes(HOME / "drai.png", content.getvalue())


def _named(sheet: Image.Image, name: str) -> Image.Image:
    """A grid under its row's name."""
    whole = Image.new("L", (sheet.width, sheet.height + 16), 255)
    whole.paste(sheet, (0, 16))
    ImageDraw.Draw(whole).text((2, 2), name, fill=0)
    return whole
