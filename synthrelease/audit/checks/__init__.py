"""One question a file. The registry is this tuple; a check knows the case and no other check."""

from __future__ import annotations

from synthrelease.audit.checks.attribute_inference import AttributeInference
from synthrelease.audit.checks.closed_world import ClosedWorld
from synthrelease.audit.checks.empirical_epsilon import EmpiricalEpsilon
from synthrelease.audit.checks.exact_copies import ExactCopies
from synthrelease.audit.checks.frechet import FrechetDistance
from synthrelease.audit.checks.frechet_infinity import FrechetInfinity
from synthrelease.audit.checks.header_leak import HeaderLeak
from synthrelease.audit.checks.kernel_distance import KernelDistance
from synthrelease.audit.checks.label_copies import LabelCopies
from synthrelease.audit.checks.landmark_geometry import LandmarkGeometry
from synthrelease.audit.checks.linkability import Linkability
from synthrelease.audit.checks.local_copies import LocalCopies
from synthrelease.audit.checks.mask_consistency import MaskConsistency
from synthrelease.audit.checks.mask_copies import MaskCopies
from synthrelease.audit.checks.membership import Membership
from synthrelease.audit.checks.membership_model import MembershipModel
from synthrelease.audit.checks.mm_fid import ScalesTasksDistance
from synthrelease.audit.checks.mm_std import ScalesTasksVariety
from synthrelease.audit.checks.ms_ssim import MultiScaleSimilarity
from synthrelease.audit.checks.near_copies import NearCopies
from synthrelease.audit.checks.neighbour_permutation import NeighbourPermutation
from synthrelease.audit.checks.novelty import NoveltyGap
from synthrelease.audit.checks.prdc import PrecisionRecall
from synthrelease.audit.checks.radiomic_frechet import RadiomicFrechet
from synthrelease.audit.checks.small_classes import SmallClasses
from synthrelease.audit.checks.split_sound import SplitSound
from synthrelease.audit.checks.subgroups import Subgroups
from synthrelease.audit.checks.trts_labels import TrainRealTestSyntheticLabels
from synthrelease.audit.checks.tstr_labels import TrainSyntheticTestRealLabels
from synthrelease.audit.checks.tstr_masks import TrainSyntheticTestRealMasks
from synthrelease.audit.checks.vendi import VendiScore
from synthrelease.audit.checks.vulnerability import Vulnerability
from synthrelease.audit.measurement import Check

CHECKS: tuple[Check, ...] = (
    SplitSound(),
    ExactCopies(),
    HeaderLeak(),
    ClosedWorld(),
    NearCopies(),
    LocalCopies(),
    NeighbourPermutation(),
    MaskCopies(),
    LabelCopies(),
    AttributeInference(),
    Linkability(),
    Membership(),
    MembershipModel(),
    Vulnerability(),
    EmpiricalEpsilon(),
    SmallClasses(),
    NoveltyGap(),
    TrainSyntheticTestRealLabels(),
    TrainSyntheticTestRealMasks(),
    TrainRealTestSyntheticLabels(),
    MaskConsistency(),
    Subgroups(),
    FrechetDistance(),
    FrechetInfinity(),
    RadiomicFrechet(),
    LandmarkGeometry(),
    KernelDistance(),
    PrecisionRecall(),
    VendiScore(),
    MultiScaleSimilarity(),
    ScalesTasksDistance(),
    ScalesTasksVariety(),
)
