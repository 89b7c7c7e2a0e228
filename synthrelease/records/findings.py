"""What an audit says: findings with intervals, baselines and thresholds, and the verdict over them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

AUDIT_SCHEMA = "synthrelease.audit/1"


class Verdict(StrEnum):
    """Three-valued, because too little evidence is neither good nor bad."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Criterion(StrEnum):
    """Which question of the privacy officer a check answers (WP29 plus membership, fidelity, conformance)."""

    SINGLING_OUT = "singling_out"
    LINKABILITY = "linkability"
    INFERENCE = "inference"
    MEMBERSHIP = "membership"
    FIDELITY = "fidelity"
    CONFORMANCE = "conformance"


class Direction(StrEnum):
    """Which way is good."""

    LOWER = "lower is better"
    HIGHER = "higher is better"


@dataclass(frozen=True)
class Statistic:
    """A number with its interval: ``low <= value <= high`` at two-sided ``confidence``; None = not computable."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    confidence: float
    direction: Direction


@dataclass(frozen=True)
class Baseline:
    """The same number where nothing was learned (holdout against train) and by chance."""

    holdout: float | None = None
    random: float | None = None


@dataclass(frozen=True)
class Threshold:
    """Where good ends, and because of what."""

    value: float
    because: str


@dataclass(frozen=True)
class Power:
    """What the check could have seen: recall of known leaks planted in a copy of the archive, and what they were."""

    smallest_detectable: float | None = None
    unit: str = ""
    planted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    id: str
    question: str
    criterion: Criterion
    verdict: Verdict
    required: bool
    statistic: Statistic
    baseline: Baseline
    threshold: Threshold | None
    power: Power
    n: dict[str, int]
    seed: int
    seconds: float
    reason: str
    p_value: float | None = None
    p_adjusted: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditRecord:
    """audit.json: every finding and what was judged, by digest.

    What names real patients (look-alike pairs) is written to a separate file that never leaves.

    Attributes:
        power: What an audit of this size could have shown, see :func:`synthrelease.audit.power.power_block`.
        remarks: What the reader must know of the input, a sentence each; public text.
        prior_audits: How many audits went before this one, and the digest of their chain; empty where nobody counts.
    """

    verdict: Verdict
    reason: str
    fidelity: Verdict
    findings: tuple[Finding, ...]
    profile: str
    seed: int
    digests: dict[str, str]
    counts: dict[str, int]
    versions: dict[str, str]
    power: dict[str, Any] = field(default_factory=dict)
    prior_audits: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    schema: str = AUDIT_SCHEMA

    def to_json(self) -> dict[str, Any]:
        """As plain values, ready for :func:`synthrelease.records.files.atomic_write_json`."""
        return asdict(self)
