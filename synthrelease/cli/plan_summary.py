"""What ``plan`` and every ``--dry-run`` of training answer: the run's cost, promise and place in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.policy.schema import Policy
    from synthrelease.privacy.forecast import Forecast
    from synthrelease.privacy.plan import PrivacyPlan
    from synthrelease.records.ledger import Ledger

INDENT = " " * 13


@dataclass
class Answer:
    """Lines for people and the same as values, section by section."""

    lines: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, title: str, lines: list[str], **values: Any) -> None:
        """A section: its title stands before the first line."""
        for number, line in enumerate(lines):
            self.lines.append(f"  {title:<11}{line}" if number == 0 else f"{INDENT}{line}")
        self.values |= values


def plan_answer(
    console: Console,
    policy_name: str,
    cohort: str | None,
    home: Path,
    ledger_home: Path | None,
    *,
    cross_check: bool = False,
) -> int:
    """Print what a run would do; 5 when the ledger would refuse it. Reads the policy and the ledger, no pixel."""
    from synthrelease.dicom.release.settings import require_possible
    from synthrelease.policy.loader import load_policy, policy_digest
    from synthrelease.policy.shipped import shipped_file
    from synthrelease.privacy.forecast import forecast
    from synthrelease.records.ledger import Ledger
    from synthrelease.training.planning import plan_of

    path = shipped_file("policies", policy_name)
    policy = load_policy(path, cohort)
    require_possible(policy)
    digest = policy_digest(policy)
    answer = Answer([f"Plan for {path.name} (digest {digest[:12]}); nothing was trained or written"])
    answer.values |= {"policy": path.name, "digest": digest}
    _cohort(answer, policy)
    plan = plan_of(policy)
    if plan is None:
        answer.add(
            "Privacy",
            ["none: no bound on what the archive tells of a patient; the ledger becomes unbounded"],
            privacy={"mode": "none"},
        )
    else:
        _privacy(answer, policy, plan, cross_check=cross_check)
    ledger = Ledger((ledger_home or home / "ledgers") / f"{policy.cohort.name}.jsonl")
    real = policy.cohort.source != "phantom"
    coming = forecast(ledger, plan, lifetime_epsilon=policy.privacy.lifetime_epsilon, enforce=real)
    _ledger(answer, ledger, coming)
    _audit(answer, policy)
    answer.values["would_refuse"] = coming.refused
    console.answer("\n".join(answer.lines), answer.values)
    return 5 if coming.refused else 0


def _cohort(answer: Answer, policy: Policy) -> None:
    cohort = policy.cohort
    what = (
        f"{cohort.phantom.patients} simulated patients"
        if cohort.source == "phantom"
        else "a private folder, not opened by plan"
    )
    answer.add(
        "Cohort",
        [
            f"{cohort.name}: {what}; {cohort.holdout_fraction:.0%} of patients held out",
            f"classes {', '.join(cohort.classes)}; masks {', '.join(cohort.segments) or 'none'}; {cohort.resolution} px",
        ],
    )
    answer.add(
        "Generator",
        [f"{policy.generator.name}; archive of {policy.archive.images} images"],
        generator=policy.generator.name,
        images=policy.archive.images,
    )


def _privacy(answer: Answer, policy: Policy, plan: PrivacyPlan, *, cross_check: bool) -> None:
    """Guarantee, split of the budget, epsilon on the way, and what the figures mean."""
    from textwrap import wrap

    from synthrelease.policy.strict import relaxed
    from synthrelease.privacy.budget_split import epsilon_curve, shares_of_budget
    from synthrelease.privacy.names import names_steps
    from synthrelease.privacy.risk import risk_of, strength
    from synthrelease.release.statement.words import one_in, percent_up, points_up, up

    risk = risk_of(plan.mechanisms)
    shares = shares_of_budget(plan.mechanisms)
    stepped = tuple(m.name for m in plan.mechanisms if names_steps(m.name))
    curve = epsilon_curve(plan.mechanisms, stepped, plan.delta)
    hits = {float(rate): float(most) for rate, most in risk["true_positive_rate"].items()}
    given_up = relaxed(policy)
    lines = [
        f"epsilon {up(plan.epsilon, 2)} at delta {plan.delta:g} per patient, Gaussian-DP mu {up(risk['mu'], 2)}",
        *(f"without the rule {rule} (privacy.strict: false)" for rule in given_up),
    ]
    second = _second_figure(plan) if cross_check else None
    answer.add("Privacy", [*lines, *([second[0]] if second else [])])
    answer.add("Budget", _split(plan, shares))
    if curve:
        answer.add(
            "Epsilon",
            [
                "on the way: "
                + ", ".join(f"{up(epsilon, 2)} at {mark:.0%}" for mark, epsilon in curve)
                + " of the gradient steps"
            ],
        )
    answer.add(
        "Meaning",
        [
            f"worst case: an attack finds at most {percent_up(hits[0.001])} of members at 0.1 % false accusations, "
            f"{percent_up(hits[0.01])} at 1 %;",
            f"membership advantage at most {points_up(risk['membership_advantage'])}; a record guessed with {one_in(0.001)} is "
            f"rebuilt with at most {percent_up(risk['reconstruction']['0.001'])}",
            *wrap(strength(plan.epsilon, risk), 110),
        ],
        privacy={
            **plan.to_json(),
            "risk": risk,
            "shares_of_budget": shares,
            "epsilon_curve": [{"steps": mark, "epsilon": epsilon} for mark, epsilon in curve],
            "strength": strength(plan.epsilon, risk),
            "rules_given_up": list(given_up),
            "cross_check": second[1] if second else None,
            "lifetime_epsilon": policy.privacy.lifetime_epsilon,
        },
    )


def _split(plan: PrivacyPlan, shares: dict[str, float]) -> list[str]:
    rows = []
    for m in plan.mechanisms:
        players = plan.step_groups.get(m.name, ())
        taken = f"{m.steps} x" if m.steps > 1 else "once"
        drawn = f", sampling {m.sampling_probability:.3g}" if m.sampling_probability < 1 else ""
        of = f" ({', '.join(players)})" if players else ""
        rows.append((f"{m.name}{of}", f"{shares[m.name]:.0%}", f"{taken}{drawn}, sigma {m.noise_multiplier:.3f}"))
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{width}}  {share:>4}  {how}" for name, share, how in rows]
    return [*lines, "shares of squared mu; sigma is the noise over the bound on one patient"]


def _second_figure(plan: PrivacyPlan) -> tuple[str, dict[str, Any]]:
    """PRV beside PLD. It informs and never blocks: what it cannot tell, it says."""
    from synthrelease.privacy.cross_check import prv_epsilon
    from synthrelease.privacy.scope import AGREEMENT
    from synthrelease.release.statement.words import up

    try:
        epsilon = prv_epsilon(plan.mechanisms, plan.delta)
    except Exception as error:
        return f"cross-check by PRV could not be computed ({type(error).__name__})", {"epsilon": None, "agrees": None}
    agrees = abs(epsilon - plan.epsilon) <= AGREEMENT
    word = "agrees" if agrees else "DISAGREES by more than 0.02"
    return f"cross-check by PRV (Opacus): epsilon {up(epsilon, 2)}, {word}", {"epsilon": epsilon, "agrees": agrees}


def _ledger(answer: Answer, ledger: Ledger, coming: Forecast) -> None:
    """Before and after, the caps, and what is left below them."""
    from math import isinf

    from synthrelease.privacy.accounting import composed_epsilon
    from synthrelease.release.statement.words import up

    def told(epsilon: float) -> str:
        return "unbounded" if isinf(epsilon) else up(epsilon, 2)

    name = ledger.path.stem
    values: dict[str, Any] = {"after": None if isinf(coming.epsilon) else coming.epsilon, "delta": coming.delta}
    if coming.delta is None:
        lines = [f"{name}: unbounded after this run, whatever it was before"]
    else:
        before = composed_epsilon(ledger, coming.delta)
        values["before"] = None if isinf(before) else before
        lines = [f"{name}: epsilon {told(before)} before this run, {told(coming.epsilon)} together with it"]
    if coming.overlapping:
        lines.append(f"shares patients with {', '.join(coming.overlapping)}: {told(coming.together)} all together")
    if coming.unknown:
        lines.append(f"whether it shares patients with others is not known for {', '.join(coming.unknown)}")
    broken = {(one.cohort, one.cap): one for one in coming.excess}
    for cohort, cap, delta in coming.caps:
        whose = "" if cohort == name else f" of {cohort}"
        over = broken.get((cohort, cap))
        if over is not None:
            state = "over the cap: refused" if over.enforced else "over the cap, but nobody is real"
        elif delta == coming.delta:
            state = f"fine, {cap - coming.together:.2f} below it"
        else:
            state = f"fine, at its own delta {delta:g}"
        lines.append(f"cap {cap:g}{whose}: {state}")
    if not coming.caps:
        lines.append("no cap")
    answer.add(
        "Ledger",
        lines,
        ledger={
            **values,
            "together": None if isinf(coming.together) else coming.together,
            "overlapping": list(coming.overlapping),
            "caps": [{"cohort": cohort, "epsilon": cap, "delta": delta} for cohort, cap, delta in coming.caps],
            "over": coming.over,
        },
    )


def _audit(answer: Answer, policy: Policy) -> None:
    """What an audit of that many images and patients can see, by the exact binomial bounds."""
    from math import ceil, log

    smallest = 1 - 0.05 ** (1 / policy.archive.images)
    lines = [f"profile {policy.audit.profile}; finding no copy would bound their rate below {smallest:.2%}"]
    patients = policy.privacy.expected_patients
    if policy.cohort.source == "phantom":
        patients = round(policy.cohort.phantom.patients * (1 - policy.cohort.holdout_fraction))
    if patients is not None:
        share = policy.cohort.holdout_fraction
        holdout = round(patients * share / (1 - share))
        needed = ceil(log(0.05) / log(0.99))
        can = "can" if holdout >= needed else "cannot"
        lines.append(f"about {holdout} held-out patients {can} resolve a false alarm rate of 1 % (needs {needed})")
    answer.add("Audit", lines)
