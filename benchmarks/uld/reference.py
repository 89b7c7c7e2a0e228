"""The recorded run: uld.json, the page for people, and the pictures; each part is a module that measures itself.

A part that is not measured again may stay as it was recorded, with its day and the digest of the code of that day.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import operator
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

from benchmarks.audit_power.worlds import cache_folder
from benchmarks.dp_step.reference import HOME, processor
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("copies", "innocent", "landmarks", "segmentation", "throughput")

Direction = Literal["at least", "at most", "above", "below"]
REACHED: Mapping[Direction, Callable[[float, float], bool]] = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}


class Part(Protocol):
    """A module of this package that measures one thing."""

    NAME: str

    def measure(self, *, quick: bool, short: bool, note: Callable[[str], None]) -> dict[str, Any]:
        """Figures, as JSON values; ``quick``: to see that it runs, ``short``: one seed and 64 px."""
        ...

    def goals(self, figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What was wanted and what was reached, by goal."""
        ...

    def page(self, figures: Mapping[str, Any]) -> list[str]:
        """Markdown lines for people."""
        ...


def part(name: str) -> Part:
    """The module of a part."""
    module: Any = importlib.import_module(f"benchmarks.uld.{name}")
    return module  # type: ignore[no-any-return]


def goal(wanted: float | None, value: float | None, direction: Direction = "at least") -> dict[str, Any]:
    """A goal with what was reached; one that could not be measured is not met.

    Args:
        wanted: None: it follows from a measurement that is missing. value: None: not measured.
    """
    wanted, value = (None if x is None or not math.isfinite(x) else float(x) for x in (wanted, value))
    met = wanted is not None and value is not None and bool(REACHED[direction](value, wanted))
    return {"goal": wanted, "value": value, "direction": direction, "met": met}


def measured(name: str, *, quick: bool, short: bool, fresh: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """Figures of a part, with their day and code; what a full run of the same code measured is not measured again."""
    code = code_digest(name)
    kept = cache_folder() / f"uld-{name}-{'short-' if short else ''}{code}.json"
    if kept.is_file() and not quick and not fresh:
        note(f"{name}: measured before by the same code")
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    figures = part(name).measure(quick=quick, short=short, note=note)
    figures = {"date": today(), "code": code, "short": short} | figures
    if not quick:
        atomic_write_json(kept, figures)
    return figures


def today() -> str:
    """The day."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def code_digest(name: str) -> str:
    """Of everything that a part's figures follow from, the data aside; 12 hexadecimal digits."""
    files = [
        *sorted((ROOT / "synthrelease" / "features").rglob("*")),
        *sorted((ROOT / "synthrelease" / "cohort").rglob("*.py")),
    ]
    if name in ("copies", "innocent"):
        files += sorted((ROOT / "synthrelease" / "audit").rglob("*.py"))
    files += sorted((ROOT / "benchmarks" / "uld").glob("*.py"))
    files += [ROOT / "benchmarks" / "audit_power" / "worlds.py", ROOT / "benchmarks" / "pediatric.py"]
    whole = hashlib.sha256()
    for path in files:
        if path.suffix in (".py", ".safetensors"):
            whole.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]


def recorded() -> dict[str, Any]:
    """Figures of every part that the record on disk has, each with its day; none where there is no record."""
    path = HOME / "uld.json"
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    # Older records tell day and shortness of the whole, and no code.
    whole = {"date": record["date"], "code": None, "short": record.get("short", False)}
    return {name: whole | figures for name, figures in record["figures"].items() if name in PARTS}


def result(figures: Mapping[str, Any], *, command: str) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    figures = {name: dict(figures[name]) for name in PARTS if name in figures}
    goals = {aim: value for name, found in figures.items() for aim, value in part(name).goals(found).items()}
    # What was left out is missed, not forgotten.
    goals |= {f"{name}_measured": goal(1.0, 0.0) for name in PARTS if name not in figures}
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "numpy", "torch")},
        "hardware": f"{os.cpu_count()} cores, {processor()}, no GPU used",
        "date": today(),
        "figures": figures,
        "goals": goals,
    }


def page(record: Mapping[str, Any]) -> str:
    """The tables for people."""
    lines = [
        "# Local-discrimination features: what they see, and what they cost",
        "",
        f"Written by `{record['command']}` on {record['hardware']}, {record['date']}; figures stand in uld.json.",
        "Two encoders with opposite roles: `landmarks` gives the same anatomy the same vector in different people, `copies` "
        "tells people apart at the same place. Neither can do the other's work; the first table shows it.",
        "",
    ]
    if short := [name for name, figures in record["figures"].items() if figures["short"]]:
        lines += [
            f"**A short run** of {', '.join(short)}: one seed of every fit, so that nothing is said of how seeds differ, and "
            "copied pieces at 64 px alone, without the bias of fitted models. Without `--short` the command measures three "
            "seeds, 128 px and the bias too; goals that need them are missed until then.",
            "",
        ]
    if missing := [name for name in PARTS if name not in record["figures"]]:
        lines += [f"**Not measured in this run**: {', '.join(missing)}.", ""]
    for name, figures in record["figures"].items():
        lines += [*part(name).page(figures), "", measured_on(name, figures), ""]
    lines += ["## Goals", "", "| goal | wanted | reached | met |", "|---|---|---|---|"]
    for name, aim in record["goals"].items():
        value = "-" if aim["value"] is None else f"{aim['value']:.3g}"
        wanted = aim["direction"] + (" -" if aim["goal"] is None else f" {aim['goal']:.3g}")
        lines.append(f"| {name} | {wanted} | {value} | {'yes' if aim['met'] else '**no**'} |")
    return "\n".join(lines) + "\n"


def measured_on(name: str, figures: Mapping[str, Any]) -> str:
    """The line below a part: its day, and whether the code is still the same."""
    code = figures["code"]
    earlier = f"an earlier code{f', {code}' if code else ''}"
    by = f"code {code}" if code == code_digest(name) else earlier
    return f"Measured on {figures['date']} by {by}{', in a short run' if figures['short'] else ''}."


def write(record: Mapping[str, Any], picture: bytes | None) -> None:
    """Write uld.json, uld.md and, where there is one, uld.png."""
    HOME.mkdir(parents=True, exist_ok=True)
    atomic_write_json(HOME / "uld.json", dict(record))
    atomic_write_text(HOME / "uld.md", page(record))
    if picture is not None:
        atomic_write_bytes(HOME / "uld.png", picture)


def pictures(names: tuple[str, ...], *, quick: bool) -> bytes | None:
    """The pictures of the parts below each other as one PNG; None where no part draws one."""
    drawn = [draw(quick=quick) for name in names if (draw := getattr(part(name), "picture", None))]
    images = [image.convert("RGB") for image in drawn if image is not None]
    if not images:
        return None
    sheet = Image.new(
        "RGB", (max(i.width for i in images), sum(i.height for i in images) + 8 * (len(images) - 1)), "white"
    )
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height + 8
    content = BytesIO()
    sheet.save(content, "PNG", optimize=True)
    return content.getvalue()
