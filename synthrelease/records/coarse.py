"""What of an audit may be told outside of the house: coarse outcomes, because an audit leaks too.

Its figures are computed on real patients. Exact similarities, hit counts and p-values, asked for often enough, give
back outliers (Ganev and De Cristofaro 2023, "ReconSyn"), and no guarantee of the generator covers them. So what leaves
is a verdict a check, the bounds behind it to two digits, the threshold, and what the check could have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthrelease.records.findings import Verdict

DIGITS = 2
FEW = 100
"""Counts of real patients and images below this are told as "fewer than" it."""

OUTSIDE = (
    "The outcomes of the audit are computed on real patients and lie outside of the differential privacy guarantee of the "
    "archive; they are told coarsely: verdicts, and bounds to two digits."
)

_REASONS = {
    Verdict.PASS: "The bad end of the interval lies within the threshold.",
    Verdict.FAIL: "The evidence lies beyond the threshold.",
    Verdict.INCONCLUSIVE: "Too little evidence to decide; the reason stands in the internal edition.",
}
_PRIVATE_DIGESTS = ("real_", "holdout_", "cohort")
_AUDIT = ("schema", "verdict", "reason", "fidelity", "profile", "seed", "versions", "prior_audits", "remarks")
_FINDING = ("id", "question", "criterion", "verdict", "required", "threshold", "seed")


def rounded(value: float, digits: int = DIGITS) -> float:
    """``value`` to so many significant digits.

    >>> rounded(0.0123456), rounded(1234.0, 3)
    (0.012, 1230.0)
    """
    return float(f"{value:.{digits}g}")


def coarse_count(value: int) -> int | str:
    """A count of real patients or images.

    >>> coarse_count(1234), coarse_count(70), coarse_count(0)
    (1200, 'fewer than 100', 0)
    """
    if value == 0:
        return 0
    return f"fewer than {FEW}" if value < FEW else int(rounded(value))


def coarse_counts(counts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Counts by name; those of synthetic and outgoing things are public and stay exact."""
    return {
        name: value if _public(name) or not isinstance(value, int) else coarse_count(value)
        for name, value in (counts or {}).items()
    }


def coarse_audit(audit: Mapping[str, Any]) -> dict[str, Any]:
    """audit.json as it may leave. Coarse twice is coarse once.

    Args:
        audit: ``AuditRecord.to_json()``.
    """
    kept = {name: audit[name] for name in _AUDIT if name in audit}
    digests = audit.get("digests") or {}
    kept["digests"] = {name: value for name, value in digests.items() if not name.startswith(_PRIVATE_DIGESTS)}
    kept["counts"] = coarse_counts(audit.get("counts"))
    few = _few_patients(audit.get("counts"))
    kept["findings"] = [_finding(finding, few) for finding in audit["findings"]]
    if audit.get("power") and not few:
        kept["power"] = _power(audit["power"])
    kept["outside_of_the_guarantee"] = OUTSIDE
    return kept


def _public(name: str) -> bool:
    return "synthetic" in name or "outgoing" in name


def _few_patients(counts: Mapping[str, Any] | None) -> bool:
    """Whether a side has so few patients that their number is withheld: bounds are functions of it and would tell."""
    return any(
        isinstance(value, str) or (isinstance(value, int) and 0 < value < FEW)
        for name, value in (counts or {}).items()
        if name.endswith("_patients")
    )


def _finding(finding: Mapping[str, Any], few: bool) -> dict[str, Any]:
    kept = {name: finding[name] for name in _FINDING if name in finding}
    statistic, power = finding.get("statistic") or {}, finding.get("power") or {}
    low, high = statistic.get("low"), statistic.get("high")
    if low is not None and low == high != 0:
        low = high = None  # no bounds but an exact count, perhaps of patients
    if few and "synthetic images" not in f"{statistic.get('name')} {power.get('unit')}":
        low, high = (low, high) if low == high == 0 else (None, None)
        power = {**power, "smallest_detectable": None}
    return {
        **kept,
        "statistic": {**statistic, "value": None, "low": _maybe(low), "high": _maybe(high)},
        "baseline": {"holdout": None, "random": None},
        "power": {
            "smallest_detectable": _maybe(power.get("smallest_detectable")),
            "unit": power.get("unit", ""),
            "planted": {},
        },
        "n": coarse_counts(finding.get("n")),
        "reason": _REASONS[Verdict(finding["verdict"])],
        "p_value": None,
        "p_adjusted": None,
    }


def _power(power: Mapping[str, Any]) -> dict[str, Any]:
    """Without the sentences on what to add: they tell exact counts."""
    return {name: _tree(value) for name, value in power.items() if name != "add"}


def _tree(value: Any) -> Any:
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, Mapping):
        return {name: _tree(item) for name, item in value.items()}
    return [_tree(item) for item in value] if isinstance(value, list | tuple) else value


def _maybe(value: Any) -> float | None:
    return None if value is None else rounded(float(value))
