"""The per-image copy test: is a synthetic image nearer to a training patient than strangers ever are?

For a synthetic image i, t_i is its best similarity to a group of training patients and d_i to as many holdout
patients, under one search over shifts and orientations. The evidence is the margin

    z(t_i) - z(d_i),    z = atanh.

Blurring, noise or a change of grey move t and d together, so they do not look like copying. The margin's null comes
twice: from the other side of the same synthetic images, z(d) - z(t), whose distribution is the same when nothing was
copied, and from real strangers (holdout images as probes). An image must stand out from *both*: the first knows the
generator's style, the second keeps a collapsed archive, whose images all agree, from making the first too narrow.
Both tails are exponential with a conservative scale; groups and images are corrected for.

Several ways of comparing give several margins; the smallest p-value counts, times their number (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from synthrelease.audit.intervals import ExponentialTail, holm
from synthrelease.audit.search import Matches
from synthrelease.features.descriptors import fisher_z

Array = npt.NDArray[np.float64]


def margins(matches: Matches) -> Array:
    """(M, G): z of the best similarity within each training group, less z of the best holdout similarity."""
    return fisher_z(matches.blocks) - fisher_z(matches.decoy)[:, None]


@dataclass(frozen=True)
class CopyTest:
    """Two fitted tails of the margin under "nothing was copied"."""

    style: ExponentialTail
    strangers: ExponentialTail
    groups: int

    @classmethod
    def towards_train(cls, synthetic: Matches, holdout: Matches) -> CopyTest:
        """The test proper: are margins too large?"""
        return cls._fit(-margins(synthetic), margins(holdout))

    @classmethod
    def towards_holdout(cls, synthetic: Matches, holdout: Matches) -> CopyTest:
        """The same test with the sides exchanged; it must find nothing, since the holdout cannot have been copied."""
        return cls._fit(margins(synthetic), -margins(holdout))

    @classmethod
    def _fit(cls, style: Array, strangers: Array) -> CopyTest:
        groups = style.shape[1]
        return cls(
            ExponentialTail.fit(style.ravel(), copies=groups),
            ExponentialTail.fit(strangers.ravel(), copies=groups),
            groups,
        )

    def p(self, margin: Array) -> Array:
        """p-value of each image (M, G) to (M,): the larger of the two nulls, Bonferroni over the groups."""
        each = np.maximum(_p(self.style, margin), _p(self.strangers, margin))
        return np.asarray(np.minimum(1.0, each.min(axis=1) * self.groups))


def _p(null: ExponentialTail, scores: Array) -> Array:
    """The rank among the null where it is fine enough, which is exact; the conservative tail beyond it."""
    above = len(null.body) - np.searchsorted(null.body, scores, side="left")
    return np.asarray(np.minimum(null.p(scores), (1.0 + above) / (len(null.body) + 1.0)))


ALPHA = 0.05
DECOY_ALPHA = 0.01
"""Level of decoy flags: three checks look at decoys, and an innocent archive is not to be held up by them."""

BEYOND_DECOYS = 1000.0
"""A copy counts in spite of a decoy flag where its p-value is that much smaller: the doubt is about the tail's end."""


@dataclass(frozen=True)
class Flags:
    """What the p-values of images towards train and, as a control, towards the holdout come to.

    Attributes:
        copies: Images flagged, after Holm over the archive. decoys: Images flagged as copies of holdout patients.
        smallest: Smallest p-value towards train, corrected for the number of images.
        unable: Why the test cannot be believed at all; empty: it can.
        doubt: Why it cannot clear the archive; empty: it can.
    """

    copies: int
    decoys: int
    smallest: float
    unable: str
    doubt: str

    @classmethod
    def of(cls, p: Array, decoy_p: Array) -> Self:
        """From (M,) p-values before correction for the number of images."""
        count = len(p)
        copies = int(np.sum(np.array(holm(p.tolist())) <= ALPHA))
        decoys = int(np.sum(decoy_p * count <= DECOY_ALPHA))
        unable = doubt = ""
        if decoys:
            doubt = (
                f"{decoys} synthetic images were flagged as copies of holdout patients, whom the generator never saw: "
                "the model of what strangers look like does not hold here, or the holdout was not held out"
            )
            if not copies or float(p.min()) * BEYOND_DECOYS > float(decoy_p.min()):
                unable = doubt
        elif copies:
            doubt = f"{copies} of {count} synthetic images are flagged: a person must look at the pairs in the annex"
        return cls(copies, decoys, min(1.0, float(p.min()) * count), unable, doubt)


@dataclass(frozen=True)
class FusedCopyTest:
    """Copy tests of several comparisons, read as one.

    Attributes:
        tests: By name of the comparison.
    """

    tests: Mapping[str, CopyTest]

    @classmethod
    def towards_train(cls, synthetic: Mapping[str, Matches], holdout: Mapping[str, Matches]) -> Self:
        """See :meth:`CopyTest.towards_train`."""
        return cls({name: CopyTest.towards_train(matches, holdout[name]) for name, matches in synthetic.items()})

    @classmethod
    def towards_holdout(cls, synthetic: Mapping[str, Matches], holdout: Mapping[str, Matches]) -> Self:
        """See :meth:`CopyTest.towards_holdout`; give :meth:`p` the sign -1."""
        return cls({name: CopyTest.towards_holdout(matches, holdout[name]) for name, matches in synthetic.items()})

    def each(self, probes: Mapping[str, Matches], sign: int = 1) -> dict[str, Array]:
        """p-values (M,) by comparison, before they are fused."""
        return {name: test.p(sign * margins(probes[name])) for name, test in self.tests.items()}

    def p(self, probes: Mapping[str, Matches], sign: int = 1) -> Array:
        """p-value of each probe, (M,): the smallest over the comparisons, times their number."""
        smallest = np.min(list(self.each(probes, sign).values()), axis=0)
        return np.asarray(np.minimum(1.0, len(self.tests) * smallest))
