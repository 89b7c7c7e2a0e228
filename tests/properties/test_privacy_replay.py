"""Record and replay: train on an archive, then without one patient, with the mechanisms' outputs of the first run.

Whatever reaches the outside after the mechanisms' outputs are fixed must be equal to the last bit: then it depends on
the patient through the mechanisms alone, and those are accounted for (Cebere et al., 2026).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "training"))

from discs_archive import Archive, policy

from synthrelease.generators.registry import load_generator
from synthrelease.privacy import mechanism
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.train import train_with

Array = npt.NDArray[np.float64]


class Tape:
    """Stands where noise is added: records what comes in, gives out what was recorded."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.outputs: list[Array] = []
        self.replaying = False

    def add_noise(self, total: Array, *, clip_norm: float, noise_multiplier: float, noise: OsNoise) -> Array:
        """In the place of the real one."""
        call = {"total": total.copy(), "clip_norm": clip_norm, "noise_multiplier": noise_multiplier}
        self.calls.append(call)
        if self.replaying:
            return self.outputs[len(self.calls) - 1]
        out = total + noise_multiplier * clip_norm * noise.normal(total.size)
        self.outputs.append(out)
        return out


class Everybody(OsNoise):
    """All patients in every step and equal draws inside it, so that two runs differ by the removed patient alone."""

    def bernoulli(self, size: int, probability: float) -> npt.NDArray[np.bool_]:
        """All."""
        return np.ones(size, dtype=bool)

    def entropy(self) -> int:
        """Constant."""
        return 5


def archive(strange: str) -> Archive:
    """Ten patients; the last is strange."""
    out = Archive(patients=10, images_each=2)
    if strange == "nan":
        out.spoil(18, float("nan"))
    elif strange == "inf":
        out.spoil(19, float("-inf"))
    elif strange == "extreme":
        out.spoil(18, 1e30)
    elif strange == "other class":
        out.labels[18:] = 1 - out.labels[18:]
    elif strange == "one image":
        out.owner[18] = 8
    elif strange == "ten images":
        out.owner[:8] = 9
        out.patients = np.array([4, 5, 6, 7, 8, 9])
    elif strange == "empty mask":
        out._masks[18:] = 0
    elif strange == "full mask":
        out._masks[18:] = 1
    elif strange == "two classes":
        out.labels[18] = 1 - out.labels[19]
    elif strange == "constant":
        out._images[18:] = 1.0
    return out


STRANGE = (
    "nan",
    "inf",
    "extreme",
    "other class",
    "one image",
    "ten images",
    "empty mask",
    "full mask",
    "two classes",
    "constant",
)


@pytest.mark.parametrize("strange", STRANGE)
def test_what_leaves_depends_on_a_patient_through_the_mechanisms_alone(
    strange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape, cohort = Tape(), archive(strange)
    monkeypatch.setattr(mechanism, "add_noise", tape.add_noise)
    rules = policy("diffusion", "private")
    records, calls, weights, samples = [], [], [], []
    for patients in (cohort.patients, cohort.patients[:-1]):
        tape.calls = []
        folder = tmp_path / str(len(patients))
        record = train_with(
            rules,
            cohort,
            patients,
            "cohort",
            folder / "run",
            ledger=Ledger(folder / "discs.jsonl", clock=lambda: "2026-01-01T00:00:00Z"),
            resume=False,
            progress=Silent(),
            stop_after=None,
            noise=Everybody(),
        )
        records.append(json.dumps(record, sort_keys=True))
        calls.append(tape.calls)
        weights.append((folder / "run" / "checkpoint" / "generator.safetensors").read_bytes())
        generator = load_generator(folder / "run" / "checkpoint")
        samples.append(generator.sample(torch.tensor([0, 1, 1]), torch.Generator().manual_seed(1)).images)
        tape.replaying = True

    with_it, without = calls
    assert len(with_it) == len(without) == 3 + 6
    for a, b in zip(with_it, without, strict=True):
        assert (a["clip_norm"], a["noise_multiplier"]) == (b["clip_norm"], b["noise_multiplier"])
        assert a["total"].shape == b["total"].shape
    for a, b in zip(with_it[:3], without[:3], strict=True):
        assert np.linalg.norm(a["total"] - b["total"]) <= a["clip_norm"] * (1 + 1e-5)
    assert weights[0] == weights[1]
    assert records[0] == records[1]
    assert torch.equal(samples[0], samples[1])
