"""One question a file. The registry is this tuple; a check knows the case and no other check."""

from __future__ import annotations

from synthrelease.audit.checks.closed_world import ClosedWorld
from synthrelease.audit.checks.exact_copies import ExactCopies
from synthrelease.audit.checks.frechet import FrechetDistance
from synthrelease.audit.checks.header_leak import HeaderLeak
from synthrelease.audit.checks.kernel_distance import KernelDistance
from synthrelease.audit.checks.membership import Membership
from synthrelease.audit.checks.near_copies import NearCopies
from synthrelease.audit.checks.neighbour_permutation import NeighbourPermutation
from synthrelease.audit.checks.prdc import PrecisionRecall
from synthrelease.audit.checks.split_sound import SplitSound
from synthrelease.audit.checks.tstr_labels import TrainSyntheticTestRealLabels
from synthrelease.audit.checks.tstr_masks import TrainSyntheticTestRealMasks
from synthrelease.audit.measurement import Check

CHECKS: tuple[Check, ...] = (
    SplitSound(),
    ExactCopies(),
    HeaderLeak(),
    ClosedWorld(),
    NearCopies(),
    NeighbourPermutation(),
    Membership(),
    TrainSyntheticTestRealLabels(),
    TrainSyntheticTestRealMasks(),
    FrechetDistance(),
    KernelDistance(),
    PrecisionRecall(),
)
