"""Rules that ``privacy.strict`` enforces and that can be given up by name.

Most of what would void the claim cannot be written in a policy at all (:mod:`synthrelease.policy.refused`) or stops
training and sealing (:mod:`synthrelease.privacy.strict`). What is left are settings that somebody may need, at the price of
a weaker claim: strict refuses them; otherwise the statement of the run names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]


def patient_key_is_known(policy: Policy) -> Iterator[Breach]:
    """Images without Patient ID, taken study by study, count one person as often as they came: k visits, k times the loss."""
    if policy.cohort.identity.missing == "study":
        yield (
            ("cohort", "identity", "missing"),
            "refused under privacy.strict (patient_key_is_known): a person with k studies and no Patient ID counts as k "
            "patients, so their bound is k * epsilon. Use missing: refuse, or strict: false and state it",
        )


STRICT_RULES: tuple[Callable[[Policy], Iterator[Breach]], ...] = (patient_key_is_known,)


def strict_breaches(policy: Policy) -> Iterator[Breach]:
    """Every strict rule that a private, strict policy breaks."""
    if policy.privacy.mode == "private" and policy.privacy.strict:
        for rule in STRICT_RULES:
            yield from rule(policy)


def relaxed(policy: Policy) -> tuple[str, ...]:
    """Names of the strict rules that a private policy does not keep, for the statement of its run.

    Empty for a strict policy: it would have been refused. Empty without a claim: there is nothing to weaken.
    """
    if policy.privacy.mode != "private":
        return ()
    return tuple(rule.__name__ for rule in STRICT_RULES if any(True for _ in rule(policy)))
