"""From which probability of the guide a finding counts: measured on images that no network was trained on.

For a strictness s in [0, 1] and each finding l:

    tau+_l(s) = s-quantile of the guide's probabilities where l is present
    tau-_l(s) = (1 - s)-quantile of the guide's probabilities where l is absent

and s is the largest at which two in five of the real images pass for their own findings, all of them together. A made image
has to look to the guide like a typical real one of its class and no surer: the search ends there, so that no
caricatures are made. A fixed 0.5 would be wrong for a rare finding, whose real images may all lie below it. Where tau+
and tau- cross, the guide hardly knows the finding: both are put between, and ``told_apart`` says so.
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

TYPICAL_SHARE = 0.4
"""Share of real images that would be accepted for what they show."""
STRICTNESSES = 100
"""Steps in which strictness is tried."""

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
    for step in range(STRICTNESSES, -1, -1):
        made = _at(step / STRICTNESSES, known, targets)
        passed = made.shortfall(known.logit(), targets).amax(dim=1) <= 0.0
        if len(known) == 0 or float(passed.float().mean()) >= TYPICAL_SHARE:
            break
    return made


def _at(strictness: float, probabilities: Tensor, targets: Tensor) -> Thresholds:
    """The thresholds at one strictness."""
    made = Thresholds.default(targets.shape[1])
    present, absent = made.present.clone(), made.absent.clone()
    for finding, (of, asked) in enumerate(zip(probabilities.unbind(dim=1), targets.unbind(dim=1), strict=True)):
        with_it, without = of[asked == 1], of[asked == 0]
        if len(with_it):
            present[finding] = torch.quantile(with_it, strictness)
        if len(without):
            absent[finding] = torch.quantile(without, 1.0 - strictness)
        if present[finding] < absent[finding]:
            present[finding] = absent[finding] = (present[finding] + absent[finding]) / 2
    return Thresholds(present, absent, made.critic_floor)
