"""Steps a second of the whole game against the conditional GAN of the same size, plain and private."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.audit_power.worlds import cache_folder
from benchmarks.drai.cohort import Known, phantoms
from benchmarks.drai.ways import SHARED, WAYS, Way
from synthrelease.generators.protocol import Batch, Player
from synthrelease.policy.generators import DraiGenerator as Settings
from synthrelease.privacy.clipping import Target, clipped_joint_sum, flat_size, put_gradient
from synthrelease.training.loop import Stepper, plain_gradient, seeded, step_together

ROWS = ("conditional GAN", "conditional InfoGAN-like", "DAI", "DRAI")
PATIENTS = 16
"""In a private step, one image each: as many images as in a plain one."""
CLIP = 1.0
WARM, TIMED = 2, 10
"""Steps before the clock and on it."""


def measured(note: Callable[[str], None], patients: int = 400) -> dict[str, Any]:
    """CPU time of a step of each row, kept for the page.

    Private steps are clipped patient by patient as one vector over the players that see real images (mode A). The noise and
    its accounting, the same for all, are left out.

    Args:
        note: Told of each row.
        patients: Of the simulated cohort.
    """
    known, _ = phantoms(patients)
    paces: dict[str, dict[str, float]] = {}
    for way in WAYS:
        if way.name in ROWS:
            paces[way.name] = {"plain": _pace(_plain(way, known)), "private": _pace(_private(way, known))}
            note(f"{way.name}: {paces[way.name]}")
    said = (
        "Per second of CPU time, one thread, 16 images a step, at the settings of the tables; a step steps every player, the "
        "predictors of DRAI five times in a plain step and once in a private one. Private: one image of each of 16 patients, "
        "clipped as one vector; the penalty on generated pictures."
    )
    record = {"said": said, "steps_per_s": paces}
    _kept_at().parent.mkdir(parents=True, exist_ok=True)
    _kept_at().write_text(json.dumps(record), encoding="utf-8")
    return record


def kept() -> dict[str, Any] | None:
    """What was measured last on this machine."""
    return json.loads(_kept_at().read_text(encoding="utf-8")) if _kept_at().is_file() else None


def _kept_at() -> Path:
    return cache_folder() / "drai-pace.json"


def _pace(step: Callable[[int], None]) -> float:
    for number in range(WARM):
        step(number)
    began = time.process_time()
    for number in range(TIMED):
        step(WARM + number)
    return TIMED / (time.process_time() - began)


def _players(way: Way, known: Known, **changes: Any) -> tuple[tuple[Player, ...], Settings]:
    settings = Settings(**{**SHARED, **way.switches, **changes})
    return way.build(known.spec, settings).players(), settings


def _some(known: Known, size: int, rng: torch.Generator) -> Batch:
    rows, given = torch.randint(len(known), (size,), generator=rng), known.batch
    return Batch(given.images[rows], given.masks[rows], given.labels[rows])


def _plain(way: Way, known: Known) -> Callable[[int], None]:
    players, settings = _players(way, known)
    steppers = [Stepper(each, learning_rate=1e-3, decay=0.99) for each in players]
    gradient = plain_gradient(lambda step, rng: _some(known, settings.batch, rng), 0, "steps")

    def step(number: int) -> None:
        for stepper in steppers:
            step_together((stepper,), gradient, number)

    return step


def _private(way: Way, known: Known) -> Callable[[int], None]:
    players, settings = _players(way, known, penalty_on="generated")
    real = tuple(each for each in players if each.sees_real)
    steppers = {each.name: Stepper(each, learning_rate=1e-3, decay=0.99, private=True) for each in players}
    blind = plain_gradient(lambda step, rng: _some(known, settings.batch, rng), 0, "blind")
    targets = [Target(each.module, each.loss, "fast") for each in real]

    def clipped(number: int) -> None:
        rng = seeded(0, "patients", number)
        batch = _some(known, PATIENTS, rng)
        rows = [{name: v[:, None] for name, v in each.draw(batch, rng).items()} for each in real]
        total, _ = clipped_joint_sum(targets, [rows], CLIP, block=PATIENTS)
        vector = torch.as_tensor(total.total) / PATIENTS
        for each, own in zip(real, torch.split(vector, [flat_size(p.module) for p in real]), strict=True):
            put_gradient(each.module, own)
            if each.generated is not None:
                each.generated(rng).backward()  # type: ignore[no-untyped-call]
            steppers[each.name].advance()

    def step(number: int) -> None:
        clipped(number)
        for each in players:
            if not each.sees_real:
                step_together((steppers[each.name],), blind, number)

    return step
