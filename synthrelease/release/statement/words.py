"""Figures and sentences that the text and the registry record share.

Bounds are rounded up, never to the nearest: "at most 66.4 %" of a bound of 66.44 % would be false.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from synthrelease.release.statement.facts import Guarantee, Product, Spending, Statement

HOUSE = "(For the house alone: it is a fact about patients. Statements in packs and registries leave it out.)"


def up(value: float, digits: int) -> str:
    """``value`` with so many decimals, rounded up.

    >>> up(7.9961, 2), up(8.0, 2)
    ('8.00', '8.00')
    """
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING))


def percent_up(share: float) -> str:
    """A share of 1 in percent, rounded up: one decimal, below 10 % two significant digits.

    >>> percent_up(0.66441), percent_up(0.03121), percent_up(0.000321), percent_up(1.0)
    ('66.5 %', '3.2 %', '0.033 %', '100.0 %')
    """
    percent = Decimal(repr(share)) * 100
    digits = 1 if percent >= 1 or percent <= 0 else 1 - percent.adjusted()
    return f"{percent.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING):f} %"


def points_up(share: float) -> str:
    """A difference of shares, rounded up.

    >>> points_up(0.66441)
    '66.5 percentage points'
    """
    return percent_up(share).replace("%", "percentage points")


def together(epsilon: float | None, delta: float) -> str:
    """A composed figure; that there is none where a run without privacy is among the runs.

    >>> together(8.0011, 1e-5)
    'epsilon 8.002 at delta 1e-05'
    """
    if epsilon is None:
        return "no bound, since a run without privacy is among them"
    return f"epsilon {up(epsilon, 3)} at delta {delta:g}"


def one_in(chance: float) -> str:
    """
    >>> one_in(0.001)
    '1 in 1,000'
    """
    return f"1 in {round(1 / chance):,}"


def readable(mechanism: str) -> str:
    """
    >>> readable("class_counts"), readable("gradient_steps.critic")
    ('class counts', 'gradient steps (critic)')
    """
    name, dot, player = mechanism.partition(".")
    return name.replace("_", " ") + (f" ({player.replace('_', ' ')})" if dot else "")


def parameters(guarantee: Guarantee) -> str:
    """The pair that the guarantee is named by."""
    return f"epsilon {up(guarantee.epsilon, 3)}, delta {guarantee.delta:g}"


def bounds(guarantee: Guarantee) -> list[str]:
    """What an attacker may achieve at most, one sentence each."""
    risk = guarantee.risk
    rates = {float(rate): float(hits) for rate, hits in risk["true_positive_rate"].items()}
    right = {rate: float(risk["posterior"][f"{rate:g}"]) for rate in rates}
    prior = float(risk["posterior"]["prior"])
    rebuilt = {float(blind): float(most) for blind, most in risk["reconstruction"].items()}
    low, high = risk["mu_false_positive_rates"]
    return [
        f"Membership advantage (true minus false positive rate): at most {points_up(risk['membership_advantage'])}.",
        *(
            f"At a false positive rate of {100 * rate:g} % (one false accusation in {round(1 / rate):,}), at most "
            f"{percent_up(rates[rate])} of the members are found."
            for rate in (0.001, 0.01)
        ),
        f"Where {one_in(prior)} of those who might be accused was a member, an accusation at a false positive rate of 1 % is "
        f"right in at most {percent_up(right[0.01])} of cases.",
        f"A record that could be guessed blindly with chance {one_in(0.001)} is reconstructed with chance at most "
        f"{percent_up(rebuilt[0.001])}.",
        f"Gaussian differential privacy with mu = {up(float(risk['mu']), 3)} bounds every attack at false positive rates "
        f"from {100 * low:g} % to {100 * high:g} %.",
    ]


def executed(guarantee: Guarantee) -> str:
    """Executed uses of planned ones, by mechanism."""
    return "; ".join(
        f"{readable(m.name)} {m.steps}" + (f" of {m.planned_steps}" if m.planned_steps is not None else "")
        for m in guarantee.mechanisms
    )


def mechanism_line(guarantee: Guarantee) -> list[str]:
    """Every mechanism with its parameters; training.json holds them in full precision."""
    lines = []
    for m in guarantee.mechanisms:
        drawn = (
            f"each patient drawn with chance {m.sampling_probability:.6g}"
            if m.sampling_probability < 1
            else "every patient"
        )
        of = f" of {m.planned_steps} planned" if m.planned_steps is not None else ""
        clip = f", clip norm {m.clip_norm:.6g}" if m.clip_norm is not None else ""
        uses = "use" if m.steps == 1 else "uses"
        lines.append(
            f"{readable(m.name)}: Gaussian noise {m.noise_multiplier:.6g} times the clip norm{clip}, {drawn}, "
            f"{m.steps} {uses} executed{of}"
        )
    return lines


def accounting(guarantee: Guarantee) -> str:
    """Which accountants found which figure."""
    check = guarantee.cross_check
    if check is None:
        second = "No second accountant's figure was recorded."
    else:
        word = "agrees within 0.02" if check.agrees else "DISAGREES by more than 0.02: do not rely on the figure"
        second = f"Cross-check by {check.accountant}: {up(check.epsilon, 3)}, which {word}."
    return (
        f"{guarantee.accountant}; recomputed from the mechanisms for this statement with {guarantee.accountant_version}. "
        f"{second} Under replace-one adjacency, another convention, the same run has epsilon "
        f"{up(guarantee.replace_one_epsilon, 2)} at the same delta."
    )


def spending(spent: Spending | None) -> list[str]:
    """What all runs on the cohort cost together; that it is not known where no ledger was at hand."""
    if spent is None:
        return ["The cohort's ledger was not at hand: what other runs on the cohort cost is not stated here."]
    open_runs = f" ({spent.unsettled} of them crashed or not finished, counted in full)" if spent.unsettled else ""
    runs = "1 run" if spent.runs == 1 else f"{spent.runs} runs"
    lines = [
        f"The cohort's ledger holds {runs}{open_runs}, this one among them; together: {together(spent.epsilon, spent.delta)}."
    ]
    if spent.runs > 1:
        lines.append("Who sees what came of all of them faces that figure, not the one of this run alone.")
    if spent.overlapping:
        lines.append(
            f"The cohort shares patients with {', '.join(spent.overlapping)}; all together: "
            f"{together(spent.together, spent.delta)}. {HOUSE}"
        )
    if spent.unknown:
        lines.append(f"Whether cohorts share patients is not known for {', '.join(spent.unknown)}. {HOUSE}")
    if not spent.overlap_told:
        lines.append(
            "Whether its patients are in other cohorts of the curator too, and what that adds, is not told here."
        )
    if spent.cap is not None:
        lines.append(f"The cap in the cohort's ledger is epsilon {spent.cap[0]:g} at delta {spent.cap[1]:g}.")
    if spent.policy_cap is not None:
        lines.append(f"The policy's cap for all runs on the cohort is epsilon {spent.policy_cap:g}.")
    if spent.cap is None and spent.policy_cap is None:
        lines.append("No cap is set.")
    return lines


def people(product: Product) -> str:
    """Who receives the archive, and under which terms."""
    to = "; ".join(product.recipients) or "recipients not named"
    return f"{product.tier}: {to}" + (f", under agreement {product.agreement}" if product.agreement else "")


def origin(statement: Statement) -> str:
    """What the statement is of, and when it was made."""
    product = statement.product
    return (
        f"{product.release}: run {product.run}, trained by {statement.versions['trained_by']}; stated on "
        f"{statement.stated_on} by {statement.versions['stated_by']}; training record SHA-256 "
        f"{statement.digests['training']}"
    )
