"""Does a model that was fitted to train lean towards train? Paired over splits, because one split cannot tell.

For every split of strangers into train, holdout and synthetic, the local network is fitted once to train and once to
holdout, by one recipe from the same first weights; what clean images lean to under the one, less under the other, is
what the fit does to them: whichever side they happen to resemble is in both. A network that neither side changed
leans by chance alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from benchmarks.uld.pastes import World, world
from benchmarks.uld.ways import STEPS, Windows, fitted, leaning, local, shipped
from synthrelease.audit.search import CopySearch, Patients
from synthrelease.errors import UnsuitableData
from synthrelease.features.uld.local import LocalNetwork
from synthrelease.features.uld.public import public_encoder

SPLITS = 5
COUNTS = (120, 120, 160)
"""Of train, holdout and synthetic; phantom splits have nobody in common, those of radiographs resample one pool."""

FIRST = 100
"""Numbers of the worlds, away from those in which copies are planted."""

TRAIN, HOLDOUT, BOTH, SHIPPED = "fitted to train", "fitted to holdout", "fitted to both", "shipped"


def measure(
    sources: Sequence[str],
    note: Callable[[str], None],
    *,
    splits: int = SPLITS,
    counts: tuple[int, int, int] = COUNTS,
    steps: int = STEPS,
) -> dict[str, Any]:
    """Leanings of every split under every fit, by source, and what follows from them."""
    found: dict[str, Any] = {
        "steps": steps,
        "steps_of_shipped": int(public_encoder("copies").provenance.recipe["steps"]),
        "roles": list(counts),
        "sources": {},
        "left_out": {},
    }
    for source in sources:
        by_fit: dict[str, list[float]] = {}
        try:
            for split in range(splits):
                note(f"copies: bias of a fit: {source}, split {split + 1} of {splits}")
                given = world(source, 64, (*counts, 0), FIRST + split)
                for fit, value in leanings(given, steps).items():
                    by_fit.setdefault(fit, []).append(value)
        except UnsuitableData as error:
            found["left_out"][source] = str(error)
            continue
        found["sources"][source] = summary(by_fit) | {"leaning_by_split": by_fit}
    return found


def leanings(given: World, steps: int) -> dict[str, float]:
    """Share of clean images nearer to train, under each fit."""
    train, holdout = given.train.images, given.holdout.images
    networks: dict[str, Callable[[], LocalNetwork]] = {
        TRAIN: lambda: fitted(train, steps),
        HOLDOUT: lambda: fitted(holdout, steps),
        BOTH: lambda: fitted(np.concatenate([train, holdout]), steps),
        SHIPPED: shipped,
    }
    patients = Patients.of(given.train, given.holdout)

    def under(network: LocalNetwork) -> float:
        return leaning(CopySearch(Windows(patients, local(network)), patients, given.synthetic).synthetic)

    return {name: under(make()) for name, make in networks.items()}


def summary(by_fit: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Means with their 95 % intervals over splits; a difference is taken split by split."""
    train, holdout, both, ours = (np.array(by_fit[name]) for name in (TRAIN, HOLDOUT, BOTH, SHIPPED))
    return {
        "fitted_to_train_less_fitted_to_holdout": interval(train - holdout),
        "fitted_to_both_less_half": interval(both - 0.5),
        "shipped_less_half": interval(ours - 0.5),
    }


def interval(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Mean and Student's 95 % interval of at least two values."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    half = float(t.ppf(0.975, len(values) - 1)) * error
    return {"mean": mean, "low": mean - half, "high": mean + half}


def page(figures: Mapping[str, Any]) -> list[str]:
    """The table."""
    train, holdout, made = figures["roles"]
    lines = [
        "",
        f"### Audit-model bias: {train} + {holdout} patients, {made} clean synthetic, 64 px",
        "",
        "Leaning as above, of the local network alone, with its mean and 95 % interval over splits: a model that is fitted to "
        f"train is biased where fitting it to holdout instead changes leaning. Every fit took {figures['steps']} steps, the "
        f"shipped network {figures['steps_of_shipped']} on phantoms of its own; no split changes it, so that it shows chance.",
        "",
        "| source | splits | fitted to train, less fitted to holdout | fitted to both, less 0.5 | shipped, less 0.5 |",
        "|---|---|---|---|---|",
    ]
    for source, found in figures["sources"].items():
        keys = ("fitted_to_train_less_fitted_to_holdout", "fitted_to_both_less_half", "shipped_less_half")
        cells = [f"{found[k]['mean']:+.3f} ({found[k]['low']:+.3f} to {found[k]['high']:+.3f})" for k in keys]
        splits = len(found["leaning_by_split"][TRAIN])
        lines.append("| " + " | ".join([source, str(splits), *cells]) + " |")
    return [*lines, *(f"- left out: {source}: {why}" for source, why in figures["left_out"].items())]
