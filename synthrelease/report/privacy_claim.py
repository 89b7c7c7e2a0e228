"""The privacy claim as a sheet: epsilon translated into what an attacker may achieve, and what it does not cover."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from synthrelease.report import charts
from synthrelease.report.figures import NONE, Figures, plain

RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Bound:
    """What the best attack may reach at one rate of wrong accusations."""

    wrongly: str
    rightly: str
    times: str


@dataclass(frozen=True)
class ClaimSheet:
    """The claim, ready to print; without a claim only ``statement`` is told."""

    claimed: bool
    statement: str
    headline: tuple[tuple[str, str], ...]
    bounds: tuple[Bound, ...]
    chart: Markup
    source: str
    reading: str
    mechanisms: tuple[tuple[str, str, str, str], ...]
    layers: tuple[tuple[str, str], ...]
    ledger: tuple[tuple[str, str], ...]


def rate_bound(epsilon: float, delta: float, fpr: float) -> float:
    """Most true positives of any attack at false positive rate ``fpr``, from epsilon and delta alone.

    TPR <= min(e^eps FPR + delta, 1 - e^-eps (1 - delta - FPR)), and at most 1.

    >>> round(rate_bound(4.0, 1e-5, 0.001), 4), rate_bound(8.0, 1e-5, 0.001) > 0.99
    (0.0546, True)

    Source: Kairouz, Oh, Viswanath, ICML 2015, theorem 2.1 (the privacy region of a hypothesis test).
    """
    upper = min(math.exp(epsilon) * fpr + delta, 1 - math.exp(-epsilon) * (1 - delta - fpr))
    return min(max(upper, fpr), 1.0)


def advantage_bound(epsilon: float, delta: float) -> float:
    """Most TPR - FPR of any attack from epsilon and delta alone: (e^eps - 1 + 2 delta) / (e^eps + 1)."""
    return (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)


def suspicion(epsilon: float, prior: float) -> float:
    """Highest belief that a patient took part, after seeing the archive, from a belief ``prior`` before."""
    return math.exp(epsilon) * prior / (1 - prior + math.exp(epsilon) * prior)


def claim_sheet(training: Mapping[str, Any], ledger: Mapping[str, Any] | None, figures: Figures) -> ClaimSheet:
    """The sheet of a run; of an archive whose making is unknown, that there is no claim."""
    privacy = training.get("privacy") or {}
    epsilon, delta = privacy.get("epsilon"), privacy.get("delta")
    rows = _ledger_rows(ledger, figures)
    if privacy.get("mode") == "none" or epsilon is None or delta is None:
        statement = (
            "No formal guarantee. The generator was trained without differential privacy, so nothing bounds what the archive "
            "may reveal about one patient. Only the audit above speaks to that, for the attacks that it tried."
        )
        return ClaimSheet(False, statement, (), (), Markup(""), "", "", (), (), rows)
    risk = privacy.get("risk") or {}
    curve = {
        float(rate): float(tpr) for rate, tpr in (risk.get("true_positive_rate") or {}).items() if 0 < float(rate) < 1
    }
    exact = bool(curve)
    points = sorted(curve.items()) if exact else [(rate, rate_bound(epsilon, delta, rate)) for rate in RATES]
    bounds = tuple(Bound(figures.percent(fpr), _at_most(tpr, figures), plain(tpr / fpr, 2)) for fpr, tpr in points)
    advantage = risk.get("membership_advantage", advantage_bound(epsilon, delta))
    unit = str(privacy.get("unit", "patient"))
    return ClaimSheet(
        claimed=True,
        statement=(
            f"Differentially private for the addition or removal of all images, masks and labels of any one {unit}. "
            "The claim holds against an attacker who knows everybody else in the cohort and everything about the method."
        ),
        headline=(
            ("Epsilon (ε)", plain(epsilon, 3)),
            ("Delta (δ)", plain(delta, 3)),
            ("Unit of privacy", unit),
            ("Mu (μ)", figures.number(risk.get("mu"))),
            ("Advantage, at most", figures.percent(advantage)),
            ("Suspicion of 10 % grows to at most", figures.percent(suspicion(epsilon, 0.1))),
            *_reconstruction(risk, figures),
        ),
        bounds=bounds,
        chart=charts.attack_bound(points, [(bound.wrongly, bound.rightly) for bound in bounds]),
        source="from the mechanisms' whole trade-off curve"
        if exact
        else "from epsilon and delta alone (coarser than the truth)",
        reading=_reading(points),
        mechanisms=tuple(_mechanism(entry) for entry in privacy.get("mechanisms", [])),
        layers=_layers(privacy, unit),
        ledger=rows,
    )


def _reconstruction(risk: Mapping[str, Any], figures: Figures) -> list[tuple[str, str]]:
    chances = {float(blind): float(most) for blind, most in (risk.get("reconstruction") or {}).items()}
    return [
        (
            f"A record guessed by chance 1 in {plain(1 / blind, 4)} is rebuilt with at most",
            figures.percent(chances[blind]),
        )
        for blind in sorted(chances)
        if abs(blind - 0.001) < 1e-9
    ]


def _at_most(tpr: float, figures: Figures) -> str:
    return figures.percent(tpr) if tpr < 0.9995 else "100 %"


def _reading(points: list[tuple[float, float]]) -> str:
    fpr, tpr = min(points, key=lambda point: abs(math.log10(point[0]) + 2))
    if tpr >= 0.9:
        return "Taken alone this bound excludes no attack of practical interest. Read it as a mitigation, together with the audit."
    if tpr >= 0.2:
        return (
            "Taken alone this bound still allows a strong attack: it limits how sure an attacker can be of one patient, "
            "but not to a level that would do without the audit."
        )
    return f"At {plain(100 * fpr, 2)} % wrong accusations the best attack stays within {plain(tpr / fpr, 2)} times blind guessing."


def _mechanism(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        str(entry.get("name", NONE)),
        plain(entry.get("noise_multiplier"), 8),
        plain(entry.get("sampling_probability"), 8),
        plain(entry.get("steps"), 7),
    )


def _layers(privacy: Mapping[str, Any], unit: str) -> tuple[tuple[str, str], ...]:
    """One line a layer of the claim, top of the pyramid first (after NIST SP 800-226)."""
    count = len(privacy.get("mechanisms", []))
    return (
        (
            "Unit",
            f"One {unit}, with all their images. Two datasets are neighbours when one {unit} is added or removed.",
        ),
        (
            "Accounting",
            f"{privacy.get('accountant', 'not stated')}, over {count} mechanism{'s' if count != 1 else ''} listed below.",
        ),
        ("Covers", "Every training step and checkpoint, and every image, mask, label and header computed from them."),
        ("Trust", "Central: the hospital holds the real images and is trusted. The recipient gets outputs only."),
        ("Sampling", "Patients are drawn independently in each step (Poisson); the accounting assumes the same."),
        ("Noise", "From the operating system's cryptographic stream; never from a seed that is kept."),
        ("Does not cover", "The audit's own figures and the internal report, which are computed on real patients."),
    )


def _ledger_rows(ledger: Mapping[str, Any] | None, figures: Figures) -> tuple[tuple[str, str], ...]:
    if not ledger:
        return ()
    composed = ledger.get("composed_epsilon")
    return (
        ("Runs on this cohort", figures.count(ledger.get("runs"), real=False)),
        (
            "Epsilon of all runs together",
            "none: one run had no privacy" if composed is None else figures.number(composed),
        ),
        ("At delta", plain(ledger.get("delta"), 3)),
        ("Lifetime limit of the cohort", plain(ledger.get("lifetime_epsilon"), 3)),
    )
