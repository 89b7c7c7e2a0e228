"""The whole job on the paediatric chest radiographs, private at epsilon 8, private moments alone, and plain.

    python -m benchmarks.real [--quick]

Writes ``audits/reference/private_quality.json``, ``.md`` and ``.png``: every figure beside its baselines (real
holdout, moments, noise), and a contact sheet of synthetic images only. ``--quick`` runs a few hundred patients with
few steps, to see that the command works, and writes to ``build/`` instead.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.pediatric import HOME, write_table
from synthrelease.audit.case import AuditCase, case_from_stores
from synthrelease.audit.images import ImageSet
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.cli.console import Console
from synthrelease.cohort.store import CohortStore
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, atomic_write_text, read_json
from synthrelease.records.runs import Run
from synthrelease.workflow import Desk, audit_run, begin, sample_run, train_run

POLICIES = {"plain": "pediatric_plain", "private": "pediatric_dp_eps8", "moments": "pediatric_moments_eps8"}
FIDELITY = ("frechet", "kernel_distance", "prdc", "tstr_labels", "tstr_masks")
SHOWN = 10


def quick_policy(path: Path, target: Path) -> Path:
    """The same policy with few steps and images."""
    text = path.read_text(encoding="utf-8").replace("archive: {images: 1500}", "archive: {images: 200}")
    for name, few in (
        ("warmup_steps: 2000", "warmup_steps: 20"),
        ("steps: 2500", "steps: 30"),
        ("steps: 150", "steps: 5"),
    ):
        text = text.replace(name, few)
    text = text.replace("expected_patients: 2900", "expected_patients: 290").replace("delta: 1e-5", "delta: 1e-4")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


def noise_case(case: AuditCase, seed: int) -> AuditCase:
    """The case with the archive replaced by noise of the training images' mean and spread, with random labels."""
    rng = np.random.default_rng(seed)
    shape = case.synthetic.images.shape
    level, spread = float(case.train.images.mean()), float(case.train.images.std())
    images = np.clip(rng.normal(level, spread, shape), -1, 1).astype(np.float32)
    masks = (rng.random(case.synthetic.masks.shape) < case.train.masks.mean()).astype(np.float32)
    labels = rng.integers(0, len(case.classes), shape[0])
    noise = ImageSet(images, masks, labels, np.arange(shape[0]))
    return AuditCase(case.train, case.holdout, noise, case.classes, case.segments)


def whole_job(policy: Path, table: Path, home: Path, console: Console) -> tuple[dict[str, Any], Run]:
    """Train, sample and audit by the product's own stages: a line of the table, and the run.

    Args:
        policy: File. table: Folder of the cohort. home: Folder of runs; each has a ledger of its own there, since what is
            measured again and again is a data set that is public.
    """
    desk = Desk(home, home / "ledgers" / f"{policy.stem}-{time.time_ns()}", console, None)
    run: Run = begin(desk, str(policy), str(table), resume=False)
    began = time.perf_counter()
    train_run(desk, run, resume=False)
    trained = time.perf_counter()
    sample_run(desk, run)
    sampled = time.perf_counter()
    audit_run(desk, run)
    audit = read_json(run.audit)
    training = read_json(run.training)
    figures = {
        "findings": row_of(audit),
        "verdict": audit["verdict"],
        "fidelity": audit["fidelity"],
        "epsilon": training["privacy"].get("epsilon"),
        "delta": training["privacy"].get("delta"),
        "train_seconds": trained - began,
        "sample_seconds": sampled - trained,
    }
    return figures, run


def row_of(audit: dict[str, Any]) -> dict[str, Any]:
    """One line of the table: every finding's statistic with its interval, baseline and verdict."""
    findings = {}
    for finding in audit["findings"]:
        statistic = finding["statistic"]
        findings[finding["id"]] = {
            "statistic": statistic["name"],
            "value": statistic["value"],
            "low": statistic["low"],
            "high": statistic["high"],
            "direction": statistic["direction"],
            "holdout": finding["baseline"]["holdout"],
            "random": finding["baseline"]["random"],
            "verdict": finding["verdict"],
            "required": finding["required"],
        }
    return findings


def sheet(stores: Mapping[str, CohortStore]) -> bytes:
    """Rows of synthetic images, mask outlines drawn in, one block a run and one row a class, as PNG."""
    scale, side, pad = 3, 0, 22
    blocks = []
    for name, store in stores.items():
        side = store.manifest.resolution * scale
        for label, word in enumerate(store.manifest.classes):
            rows = np.flatnonzero(np.asarray(store.labels) == label)[:SHOWN]
            pictures, masks = store.images(rows)[:, 0], store.masks(rows)
            strip = Image.new("RGB", (SHOWN * (side + 2), side + pad), "white")
            ImageDraw.Draw(strip).text((2, 5), f"{name}: {word}", fill="black")
            for index, picture in enumerate(pictures):
                grey = np.repeat(np.repeat(((picture + 1) * 127.5).astype(np.uint8), scale, 0), scale, 1)
                colour = np.stack([grey] * 3, -1)
                for mask in masks[index]:
                    inside = np.repeat(np.repeat(mask >= 0.5, scale, 0), scale, 1)
                    core = inside.copy()
                    core[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
                    colour[inside & ~core] = (255, 190, 0)
                strip.paste(Image.fromarray(colour), (index * (side + 2), pad))
            blocks.append(strip)
    whole = Image.new("RGB", (blocks[0].width, sum(block.height for block in blocks)), "white")
    top = 0
    for block in blocks:
        whole.paste(block, (0, top))
        top += block.height
    stream = io.BytesIO()
    whole.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def shown(value: float | None) -> str:
    """A number as the tables tell it."""
    return "-" if value is None else f"{value:.3g}"


def page(figures: dict[str, Any], command: str) -> str:
    """The table for people."""
    checks = list(figures["plain"]["findings"])
    names = list(figures)
    lines = [
        "# The whole job on real chest radiographs",
        "",
        f"Written by `{command}`; figures with intervals stand in private_quality.json, pictures in private_quality.png.",
        "",
        "| check: statistic (direction) | " + " | ".join(names) + " | real holdout | chance |",
        "|---|" + "---|" * (len(names) + 2),
    ]

    for check in checks:
        first = figures["plain"]["findings"][check]
        cells = []
        for name in names:
            finding = figures[name]["findings"].get(check)
            if finding is None:
                cells.append("-")
            else:
                span = f" [{shown(finding['low'])}, {shown(finding['high'])}]" if finding["low"] is not None else ""
                cells.append(f"{shown(finding['value'])}{span} {finding['verdict']}")
        lines.append(
            f"| {check}: {first['statistic']} ({first['direction'].split()[0]}) | "
            + " | ".join(cells)
            + f" | {shown(first['holdout'])} | {shown(first['random'])} |"
        )
    lines += ["", "| run | epsilon | train seconds | sample seconds | audit verdict |", "|---|---|---|---|---|"]
    for name in names:
        run = figures[name]
        lines.append(
            f"| {name} | {shown(run.get('epsilon'))} | {shown(run.get('train_seconds'))} | "
            f"{shown(run.get('sample_seconds'))} | {run.get('verdict', '-')} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few patients and steps, to see that the command works")
    quick = parser.parse_args().quick
    build = HOME / "build"
    table = write_table(build / ("cxr-pediatric-quick" if quick else "cxr-pediatric"), 420 if quick else None)
    home = build / ("runs-quick" if quick else "runs")
    reference = (build if quick else HOME / "audits") / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    console = Console()
    figures: dict[str, Any] = {}
    stores: dict[str, CohortStore] = {}
    case = None
    for name, policy in POLICIES.items():
        path = HOME / "benchmarks" / "policies" / f"{policy}.yaml"
        if quick:
            path = quick_policy(path, build / "policies" / f"{policy}.yaml")
        figures[name], run = whole_job(path, table, home, console)
        stores[name] = CohortStore.open(run.synthetic_store)
        case = case_from_stores(CohortStore.open(run.cohort), stores[name])
    assert case is not None
    console.stage("noise baseline")
    record, _ = run_audit(noise_case(case, 0), load_profile("standard", check_ids()), 0, only=FIDELITY)
    figures["noise"] = {"findings": row_of(record.to_json()), "verdict": "not an archive"}
    command = "python -m benchmarks.real" + (" --quick" if quick else "")
    goals = {
        "epsilon_at_most_8": goal(8.0, figures["private"]["epsilon"], above=False),
        "plain_passes_no_copy": goal(0.0, float(figures["plain"]["verdict"] == "fail"), above=False),
        "private_labels_above_noise": beats(figures, "tstr_labels", "private", "noise"),
        "private_masks_above_noise": beats(figures, "tstr_masks", "private", "noise"),
        "private_frechet_below_moments": beats(figures, "frechet", "private", "moments"),
    }
    result = {
        "command": command,
        "versions": {name: version(name) for name in ("synthrelease", "torch", "numpy", "dp-accounting", "highdicom")},
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, no GPU used",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "figures": figures,
        "goals": goals,
    }
    atomic_write_json(reference / "private_quality.json", result)
    atomic_write_text(reference / "private_quality.md", page(figures, command))
    atomic_write_bytes(reference / "private_quality.png", sheet(stores))
    print(page(figures, command))
    print(json.dumps({name: each["met"] for name, each in goals.items()}))


def goal(wanted: float, value: float | None, *, above: bool) -> dict[str, Any]:
    """A goal with what was measured; one that could not be measured is not met."""
    met = value is not None and (value >= wanted if above else value <= wanted)
    return {"goal": wanted, "value": value, "met": met}


def beats(figures: dict[str, Any], check: str, ours: str, theirs: str) -> dict[str, Any]:
    """Whether one run's statistic is on the better side of another's, by the check's own direction."""
    mine, other = figures[ours]["findings"][check], figures[theirs]["findings"][check]
    return goal(other["value"], mine["value"], above=mine["direction"].startswith("higher"))


if __name__ == "__main__":
    main()
