"""The recorded run: uld.json, the page for people, and the pictures; each part is a module that measures itself."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from benchmarks.audit_power.worlds import cache_folder
from benchmarks.dp_step.reference import HOME, processor
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("copies", "landmarks", "segmentation", "throughput")


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


def measured(name: str, *, quick: bool, short: bool, fresh: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """Figures of a part; what an earlier full run of the same code measured is not measured again."""
    kept = cache_folder() / f"uld-{name}-{'short-' if short else ''}{code_digest(name)}.json"
    if kept.is_file() and not quick and not fresh:
        note(f"{name}: measured before by the same code")
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    figures = part(name).measure(quick=quick, short=short, note=note)
    if not quick:
        atomic_write_json(kept, figures)
    return figures


def code_digest(name: str) -> str:
    """Of everything that a part's figures follow from, the data aside; 12 hexadecimal digits."""
    files = [
        *sorted((ROOT / "synthrelease" / "features").rglob("*")),
        *sorted((ROOT / "synthrelease" / "cohort").rglob("*.py")),
    ]
    files += sorted((ROOT / "benchmarks" / "uld").glob("*.py"))
    whole = hashlib.sha256()
    for path in files:
        if path.suffix in (".py", ".safetensors"):
            whole.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]


def result(figures: Mapping[str, Any], *, command: str, short: bool) -> dict[str, Any]:
    """Everything that was measured, with what is needed to judge it."""
    goals = {goal: value for name, found in figures.items() for goal, value in part(name).goals(found).items()}
    return {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "numpy", "torch")},
        "hardware": f"{os.cpu_count()} cores, {processor()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "short": short,
        "figures": dict(figures),
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
    if record["short"]:
        lines += [
            "**A short run**: one seed of every fit, so that nothing is said of how seeds differ, and copied pieces at 64 px "
            "alone. Without `--short` the command measures three seeds and 128 px too.",
            "",
        ]
    if missing := [name for name in PARTS if name not in record["figures"]]:
        lines += [f"**Not measured in this run**: {', '.join(missing)}.", ""]
    for name, figures in record["figures"].items():
        lines += [*part(name).page(figures), ""]
    lines += ["## Goals", "", "| goal | wanted | reached | met |", "|---|---|---|---|"]
    for name, goal in record["goals"].items():
        value = "-" if goal["value"] is None else f"{goal['value']:.3g}"
        wanted = f"{goal.get('direction', 'at least')} {goal['goal']:g}"
        lines.append(f"| {name} | {wanted} | {value} | {'yes' if goal['met'] else '**no**'} |")
    return "\n".join(lines) + "\n"


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
