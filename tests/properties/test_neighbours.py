"""Brute force: every patient of many small cohorts is removed in turn, and the sum never moves by more than C.

Patients are chosen against the ways in which norms are computed: terms that are huge and cancel (norms from inner
products), numbers that no square of float32 holds, patients that all pull the same way (rounding of the sum).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthrelease.privacy.clipping import clipped_gradient_sum
from synthrelease.privacy.gradients.layers import convolution
from synthrelease.privacy.sampling import draw_images
from tests.properties.replay_tape import FLOAT_ERROR, keyed

Inputs = dict[str, Tensor]
SIDE, CLIP = 8, 0.5
BACKENDS = ("fast, gradients formed", "fast, inner products", "vmap", "opacus")
"""The fast way chooses by the clock how it treats a convolution: here it is told."""
APART = 1e-4
"""How far float32 may move the others' part of a sum, over C, when one patient leaves their block."""


class Net(nn.Module):
    """Convolution, group norm, embedding, transposed convolution, linear: the layers that generators use."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.GroupNorm(2, 16)
        self.label = nn.Embedding(3, 16)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 2, 2, stride=2)
        self.last = nn.Linear(2 * (2 * SIDE) ** 2, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, 1, 8, 8), (N,) -> (N,)."""
        h = torch.nn.functional.silu(self.norm(self.first(images))) + self.label(labels)[:, :, None, None]
        out: Tensor = self.last(self.up(self.second(h)).flatten(1))[:, 0]
        return out


def network() -> Net:
    """The same net each time."""
    torch.manual_seed(1)
    return Net()


def squared(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,) squared errors."""
    return (forward(inputs["images"], inputs["labels"]) - inputs["target"]) ** 2


def pulled(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,) outputs times targets: opposite targets give opposite gradients."""
    return forward(inputs["images"], inputs["labels"]) * inputs["target"]


@dataclass(frozen=True)
class Cohort:
    """Patients (P, M, ...), their loss, and how many go through at once."""

    inputs: Inputs
    loss: Callable[[Callable[..., Tensor], Mapping[str, Tensor]], Tensor] = squared
    block: int = 4

    def __len__(self) -> int:
        return len(self.inputs["target"])

    def of(self, patients: list[int]) -> Cohort:
        """Some of the patients, in that order."""
        return Cohort({name: value[patients] for name, value in self.inputs.items()}, self.loss, self.block)

    def sum(self, backend: str) -> np.ndarray:
        """The clipped sum of gradients, over C."""
        blocks = ({n: v[i : i + self.block] for n, v in self.inputs.items()} for i in range(0, len(self), self.block))
        found, _ = clipped_gradient_sum(
            network(), self.loss, blocks, CLIP, block=self.block, backend=backend.split(",")[0]
        )
        return found.total / CLIP

    def neighbours(self, backend: str, removed: int | None = None) -> Iterator[tuple[float, float]]:
        """For every patient, or one: how far the sum moves without them, and how far the others' part of it does."""
        whole, everyone = self.sum(backend), list(range(len(self)))
        for p in everyone if removed is None else [removed]:
            moved = whole - self.of([q for q in everyone if q != p]).sum(backend)
            yield float(np.linalg.norm(moved)), float(np.linalg.norm(moved - self.of([p]).sum(backend)))


def drawn(seed: str, patients: int, rows: int, size: float = 1.0) -> Inputs:
    """Random rows."""
    rng = torch.Generator().manual_seed(keyed("drawn", seed))
    return {
        "images": torch.randn(patients, rows, 1, SIDE, SIDE, generator=rng),
        "labels": torch.randint(3, (patients, rows), generator=rng),
        "target": size * torch.randn(patients, rows, generator=rng),
    }


def one_to_five_hundred_images(seed: str) -> Cohort:
    """Patients with 1 to 500 images, of which four are drawn; who has fewer shows them again."""
    rng = np.random.default_rng(keyed("images", seed))
    pools = [drawn(f"{seed} {p}", 1, n, 10.0) for p, n in enumerate((1, 2, 3, 5, 17, 100, 250, 499, 500))]
    rows = [draw_images([np.arange(pool["target"].shape[1])], 4, rng)[0] for pool in pools]
    each = [{n: v[:, torch.from_numpy(own)] for n, v in pool.items()} for pool, own in zip(pools, rows, strict=True)]
    return Cohort({name: torch.cat([inputs[name] for inputs in each]) for name in each[0]})


def all_five_hundred_at_once(seed: str) -> Cohort:
    inputs = drawn(seed, 2, 500, 100.0)
    return Cohort({**inputs, "images": inputs["images"] * torch.tensor([1.0, 0.0])[:, None, None, None, None]})


def cancelling(seed: str, patients: int, rows: int, size: float, remainder: float) -> Cohort:
    """Pairs of images with opposite targets: rows that are huge, and means that are next to nothing."""
    half = drawn(seed, patients, rows // 2, size)
    other = drawn(f"{seed} other", patients, rows // 2)
    inputs = {
        "images": torch.cat([half["images"], half["images"] + remainder * other["images"]], dim=1),
        "labels": torch.cat([half["labels"], half["labels"]], dim=1),
        "target": torch.cat([half["target"], -half["target"]], dim=1),
    }
    return Cohort(inputs, pulled)


def each_others_negative(seed: str) -> Cohort:
    """An image and its negative, with opposite targets."""
    half = drawn(seed, 6, 2, 1e4)
    inputs = {name: torch.cat([value, value], dim=1) for name, value in half.items()}
    inputs["images"][:, 2:] *= -1
    inputs["target"][:, 2:] *= -1
    return Cohort(inputs)


def alike(seed: str) -> Cohort:
    """Patients that all pull the same way, as at the start of training, many in one block."""
    inputs, one = drawn(seed, 12, 1), drawn(f"{seed} one", 1, 1)
    images = one["images"] + 0.05 * inputs["images"]
    return Cohort({"images": images, "labels": 0 * inputs["labels"], "target": 5 + 0 * inputs["target"]}, squared, 64)


def of_every_size(seed: str) -> Cohort:
    """Gradients from 1e-40 to 1e30 in one block."""
    inputs = drawn(seed, 9, 2)
    sizes = torch.tensor([1e-40, 1e-30, 1e-20, 1e-10, 1.0, 1e5, 1e10, 1e20, 1e30])
    return Cohort({**inputs, "target": inputs["target"] * sizes[:, None]}, pulled, 16)


def broken(seed: str) -> Cohort:
    """Values that are not finite, among others."""
    inputs = drawn(seed, 7, 2, 10.0)
    for patient, value in enumerate((float("nan"), float("inf"), -3e38, 1e20)):
        inputs["images"][patient, 1, 0, 3, 3] = value
    inputs["target"][4] = 3e38
    inputs["target"][5, 0] = float("nan")
    return Cohort(inputs)


COHORTS: dict[str, Callable[[str], Cohort]] = {
    "1 to 500 images": one_to_five_hundred_images,
    "500 rows a patient": all_five_hundred_at_once,
    "gradients of about 1e-30": lambda seed: Cohort(drawn(seed, 6, 2, 1e-30), pulled),
    "gradients of about 1e30": lambda seed: Cohort(drawn(seed, 6, 2, 1e30), pulled),
    "denormal targets": lambda seed: Cohort(drawn(seed, 6, 2, 1e-42), pulled),
    "denormal pixels": lambda seed: Cohort({**(d := drawn(seed, 7, 2, 10.0)), "images": d["images"] * 1e-42}),
    "gradients of every size": of_every_size,
    "not finite": broken,
    "each other's negative": each_others_negative,
    "all alike": alike,
    "rows that cancel": lambda seed: cancelling(seed, 6, 2, 1e2, 0.0),
    "rows that nearly cancel": lambda seed: cancelling(seed, 6, 4, 1e2, 1e-3),
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of computing gradients."""
    chosen = -1 if "inner products" in request.param else 0
    monkeypatch.setattr(convolution, "cheapest", lambda _geometry, ways, _trial: ways[chosen])
    return str(request.param)


@pytest.mark.parametrize("cohort", list(COHORTS))
def test_no_patient_moves_the_sum_by_more_than_the_clip_norm(backend: str, cohort: str) -> None:
    """Over all cohorts about 140 neighbours a backend."""
    moves = [pair for seed in "ab" for pair in COHORTS[cohort](seed).neighbours(backend)]
    assert max(moved for moved, _ in moves) <= 1 + FLOAT_ERROR
    assert max(others for _, others in moves) <= APART


def test_there_are_patients_that_move_the_sum_by_the_whole_clip_norm(backend: str) -> None:
    assert max(moved for moved, _ in one_to_five_hundred_images("a").neighbours(backend)) > 1 - FLOAT_ERROR


def among_cancelling(seed: str, size: float, rows: int) -> Cohort:
    """An ordinary patient before seven whose terms cancel."""
    others, one = cancelling(seed, 7, rows, size, 0.0), drawn(f"{seed} one", 1, rows, 50.0)
    return Cohort({n: torch.cat([one[n], v]) for n, v in others.inputs.items()}, pulled, 64 // rows)


@pytest.mark.parametrize(("rows", "size"), [(2, 1e2), (4, 1e2), (2, 1e16), (8, 1e5)])
def test_patients_whose_terms_cancel_add_the_same_whoever_is_beside_them(backend: str, rows: int, size: float) -> None:
    moves = [pair for seed in "ab" for pair in among_cancelling(seed, size, rows).neighbours(backend, removed=0)]
    assert max(moved for moved, _ in moves) <= 1 + FLOAT_ERROR
    assert max(others for _, others in moves) <= APART
