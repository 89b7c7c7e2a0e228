"""From which probability of the guide a finding counts: measured on images that no network was trained on.

For a strictness s in [0, 1/2] and each finding l, over the classes that have images enough, told apart by their findings:

    tau+_l(s) = least, over the classes that show l, of the s-quantile of the guide's probabilities of l
    tau-_l(s) = most, over the classes that do not, of their (1 - s)-quantile

and s is the largest at which one in four of the real images of every class pass for their own findings, all of them
together. A made image has to look to the guide like a typical real one of its class and no surer: it never has to be beyond
the median, and the search ends there, so that no caricatures are made. A fixed 0.5 would be wrong for a rare finding, whose
real images may all lie below it; a quantile over all classes at once would be wrong for two that resemble each other, since
it asks of the rarer to be as far from the other as images are that look like neither. Where tau+ and tau- cross, the guide
hardly knows the finding: both are put between, and ``told_apart`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

PRESENT_AT, ABSENT_AT = 0.9, 0.1
"""Where nothing was measured: a finding without a single real image of either kind."""

EDGE = 1e-4
"""Probabilities stay this far from 0 and 1, so that their logits are finite and can be reached."""

TYPICAL_SHARE = 0.25
"""Share of a class's real images that would be accepted for what they show."""
FEW = 10
"""A class of fewer images has no quantiles of its own."""
STRICTNESSES = 100
"""Steps of the whole range in which strictness is tried, up to the median."""

FLOOR_SHARE = 0.01
"""Share of unguided samples that the critic puts below the floor."""


@dataclass(frozen=True)
class Thresholds:
    """What an image has to reach to be accepted.

    Attributes:
        present: (L,) float32 in (0, 1); a finding that is asked for needs at least this probability.
        absent: (L,) float32 in (0, 1); a finding that shall be absent needs at most this probability.
        critic_floor: () float32; the critic's score of an image needs to be at least this. -inf: anything goes.
    """

    present: Tensor
    absent: Tensor
    critic_floor: Tensor

    def __post_init__(self) -> None:
        if self.present.shape != self.absent.shape or self.present.ndim != 1 or self.critic_floor.ndim != 0:
            raise ValueError("thresholds are one vector for presence, one of its length for absence, and one number")

    @classmethod
    def default(cls, findings: int) -> Self:
        """Where nothing was measured."""
        return cls(torch.full((findings,), PRESENT_AT), torch.full((findings,), ABSENT_AT), torch.tensor(-torch.inf))

    @property
    def told_apart(self) -> Tensor:
        """(L,) bool: whether the guide was seen to tell images with the finding from images without."""
        return self.present > self.absent

    def tensors(self) -> dict[str, Tensor]:
        """Every number by name; the inverse is :meth:`from_tensors`."""
        return {"present": self.present, "absent": self.absent, "critic_floor": self.critic_floor}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of :meth:`tensors`."""
        return cls(tensors["present"], tensors["absent"], tensors["critic_floor"])

    def fixed(self, present_at: float | None, absent_at: float | None) -> Self:
        """With what a policy fixes in place of what was measured; None leaves the measured values."""
        present = self.present if present_at is None else torch.full_like(self.present, present_at)
        absent = self.absent if absent_at is None else torch.full_like(self.absent, absent_at)
        return replace(self, present=present, absent=absent)

    def floored(self, scores: Tensor) -> Self:
        """With the critic's floor where all but one in a hundred unguided samples (M,) lie above."""
        return replace(self, critic_floor=torch.quantile(scores.float(), FLOOR_SHARE))

    def shortfall(self, logits: Tensor, targets: Tensor) -> Tensor:
        """How far each finding is from what is asked of it: (N, L) in logits, reached where not above zero.

        Args:
            logits: (N, L) of the guide. targets: (N, L), 1 present, 0 absent, 0.5 either: -inf there.
        """
        present = self.present.logit() - logits
        absent = logits - self.absent.logit()
        asked = torch.where(targets > 0.5, present, absent)
        return asked.masked_fill(targets == 0.5, -torch.inf)


def calibrated(probabilities: Tensor, targets: Tensor) -> Thresholds:
    """Thresholds by the rule at the top, on images that no network was trained on.

    Args:
        probabilities: (N, L) of the guide, in [0, 1].
        targets: (N, L), 1 present, 0 absent, 0.5 not known.

    Returns:
        Without a critic's floor. A finding without an image that has it, or without one that lacks it, gets the default
        on that side.
    """
    known = probabilities.float().clamp(EDGE, 1.0 - EDGE)
    groups = _classes(targets)
    for step in range(STRICTNESSES // 2, -1, -1):
        made = _at(step / STRICTNESSES, known, targets, groups)
        passed = (made.shortfall(known.logit(), targets).amax(dim=1) <= 0.0).float()
        if all(float(passed[group].mean()) >= TYPICAL_SHARE for group in groups):
            break
    return made


def _classes(targets: Tensor) -> tuple[Tensor, ...]:
    """Rows of the images of each class that has enough; of all together where none has."""
    _, of, counts = torch.unique(targets, dim=0, return_inverse=True, return_counts=True)
    groups = tuple((of == index).nonzero().flatten() for index, count in enumerate(counts.tolist()) if count >= FEW)
    return groups or ((torch.arange(len(targets)),) if len(targets) else ())


def _at(strictness: float, probabilities: Tensor, targets: Tensor, groups: tuple[Tensor, ...]) -> Thresholds:
    """The thresholds at one strictness."""
    made = Thresholds.default(targets.shape[1])
    present, absent = made.present.clone(), made.absent.clone()
    for finding, (of, asked) in enumerate(zip(probabilities.unbind(dim=1), targets.unbind(dim=1), strict=True)):
        with_it = [own for group in groups if len(own := of[group][asked[group] == 1])]
        without = [own for group in groups if len(own := of[group][asked[group] == 0])]
        if with_it:
            present[finding] = min(torch.quantile(own, strictness) for own in with_it)
        if without:
            absent[finding] = max(torch.quantile(own, 1.0 - strictness) for own in without)
        if present[finding] < absent[finding]:
            present[finding] = absent[finding] = (present[finding] + absent[finding]) / 2
    return Thresholds(present, absent, made.critic_floor)
