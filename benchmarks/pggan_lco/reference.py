"""The recorded run: pggan_lco.json, the page for people, and a contact sheet of generated images for each part.

A part that is not measured again may stay as it was recorded, with the day on which it was measured.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.dp_step.reference import HOME, processor
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text

ROOT = HOME.parents[1]
KEPT = ROOT / "build" / "pggan_lco" / "measured"
NAME = "pggan_lco"
PARTS = ("plain", "large", "private", "private_steps", "throughput")
MEASURED_BY = ("archive", "audit", "cohort", "features", "generators", "privacy", "training")
"""Parts of the package that figures follow from."""
SCALE = {128: 1, 64: 2, 32: 3}
"""Screen pixels for a pixel of a contact sheet."""

Sheets = Mapping[str, Tensor]
"""(n, 1, H, W) generated images by what was asked for."""


class Part(Protocol):
    """A module of this package that measures one thing."""

    def measure(self, *, quick: bool, note: Callable[[str], None]) -> dict[str, Any]:
        """Figures, as JSON values; what belongs on a contact sheet under ``sheets``, which is not recorded."""
        ...

    def goals(self, figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What was wanted and what was reached, by goal."""
        ...

    def page(self, figures: Mapping[str, Any]) -> list[str]:
        """Markdown lines for people."""
        ...


def part(name: str) -> Part:
    """The module of a part."""
    module: Any = importlib.import_module(f"benchmarks.pggan_lco.{name}")
    return module  # type: ignore[no-any-return]


def measured(name: str, *, quick: bool, fresh: bool, note: Callable[[str], None]) -> tuple[dict[str, Any], Sheets]:
    """Figures and images of a part; what an earlier full run of the same code measured is not measured again."""
    kept = KEPT / f"{name}-{code_digest(name)}.json"
    if kept.is_file() and not quick and not fresh:
        note(f"{name}: measured before by the same code")
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found, torch.load(kept.with_suffix(".pt"), weights_only=True)
    figures = part(name).measure(quick=quick, note=note)
    sheets: Sheets = figures.pop("sheets", {})
    if not quick:
        KEPT.mkdir(parents=True, exist_ok=True)
        torch.save(dict(sheets), kept.with_suffix(".pt"))
        atomic_write_json(kept, figures)
    return figures, sheets


def code_digest(name: str) -> str:
    """Of what a part's figures follow from, the data and libraries aside; 12 hexadecimal digits."""
    files = [path for folder in MEASURED_BY for path in sorted((ROOT / "synthrelease" / folder).rglob("*.py"))]
    files += [*sorted((ROOT / "synthrelease" / "policy").glob("*.py"))]
    files += sorted((ROOT / "benchmarks" / "pggan_lco").glob("*.py"))
    policy = getattr(part(name), "POLICY", None)
    files += [ROOT / "benchmarks" / "policies" / f"{policy}.yaml"] if policy else []
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]


def recorded() -> dict[str, Any]:
    """Figures of every part that the record on disk has, each with its day and code; none where there is no record.

    A part whose policy has changed since is another part: it is left out.
    """
    path = HOME / f"{NAME}.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    parts = {name: figures for name, figures in found["figures"].items() if name in PARTS}
    return {
        name: {"date": found["date"], "code": None} | figures
        for name, figures in parts.items()
        if figures.get("policy") == policy_digest(name)
    }


def policy_digest(name: str) -> str | None:
    """Of the policy by which a part trains, 12 hexadecimal digits; None where it trains by none."""
    policy = getattr(part(name), "POLICY", None)
    if policy is None:
        return None
    return hashlib.sha256((ROOT / "benchmarks" / "policies" / f"{policy}.yaml").read_bytes()).hexdigest()[:12]


def result(figures: Mapping[str, Any], *, command: str) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    figures = {
        name: {"date": today, "code": code_digest(name), "policy": policy_digest(name)} | dict(figures[name])
        for name in PARTS
        if name in figures
    }
    goals = {aim: value for name, found in figures.items() for aim, value in part(name).goals(found).items()}
    # What was left out is missed, not forgotten.
    goals |= {f"{name}_measured": goal(1.0, 0.0) for name in PARTS if name not in figures}
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "numpy", "torch")},
        "hardware": f"{os.cpu_count()} cores, {processor()}, no GPU used, shared with other work",
        "date": today,
        "figures": figures,
        "goals": goals,
    }


def page(record: Mapping[str, Any]) -> str:
    """The tables for people."""
    lines = [
        "# Progressive GAN with latent class optimisation on chest radiographs",
        "",
        f"Written by `{record['command']}` on {record['hardware']}, {record['date']}; figures stand in {NAME}.json, generated "
        f"images in {NAME}_PART.png.",
        "",
    ]
    left_out = [name for name in PARTS if name not in record["figures"]]
    if left_out:
        lines += [f"Not measured in this run: {', '.join(left_out)}.", ""]
    for name, figures in record["figures"].items():
        lines += [*part(name).page(figures), "", f"Measured on {figures['date']}{_by(name, figures)}.", ""]
    lines += ["## Goals", "", "| goal | wanted | reached | met |", "|---|---|---|---|"]
    for name, goal in record["goals"].items():
        value = "-" if goal["value"] is None else f"{goal['value']:.3g}"
        wanted = f"{goal['direction']} {goal['goal']:.3g}"
        lines.append(f"| {name} | {wanted} | {value} | {'yes' if goal['met'] else '**no**'} |")
    return "\n".join(lines) + "\n"


def _by(name: str, figures: Mapping[str, Any]) -> str:
    return "" if figures["code"] == code_digest(name) else ", by an earlier code"


def goal(wanted: float, value: float | None, direction: str = "at least") -> dict[str, Any]:
    """A goal with what was measured; one that could not be measured is not met."""
    met = value is not None and (value >= wanted if direction == "at least" else value <= wanted)
    return {"goal": wanted, "value": value, "direction": direction, "met": met}


def write(record: Mapping[str, Any], sheets: Mapping[str, Sheets]) -> None:
    """Write pggan_lco.json and .md, and the picture of every part that drew one."""
    HOME.mkdir(parents=True, exist_ok=True)
    atomic_write_json(HOME / f"{NAME}.json", dict(record))
    atomic_write_text(HOME / f"{NAME}.md", page(record))
    for name, drawn in sheets.items():
        atomic_write_bytes(HOME / f"{NAME}_{name}.png", contact_sheet(name, drawn))


def contact_sheet(part: str, by_row: Sheets) -> bytes:
    """One row of images for each thing that was asked for, as PNG."""
    rows = []
    for name, images in by_row.items():
        side = images.shape[-1]
        scale = SCALE.get(side, 2)
        grey = ((images[:, 0].numpy() + 1.0) * 127.5).round().astype(np.uint8)
        strip = Image.new("L", (len(grey) * (side * scale + 2), side * scale + 18), 255)
        ImageDraw.Draw(strip).text((2, 3), f"{part}: {name}", fill=0)
        for index, picture in enumerate(grey):
            large = Image.fromarray(picture).resize((side * scale, side * scale), Image.Resampling.NEAREST)
            strip.paste(large, (index * (side * scale + 2), 18))
        rows.append(strip)
    whole = Image.new("L", (max(row.width for row in rows), sum(row.height for row in rows)), 255)
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    content = BytesIO()
    whole.save(content, "PNG", optimize=True)
    return content.getvalue()
