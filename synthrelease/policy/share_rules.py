"""Rules of the shares that classes have in the archive, each a named function with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]


def released_shares_are_paid_for(policy: Policy) -> Iterator[Breach]:
    """Under a claim every generator begins with noisy class counts, which the ledger has; without one counts are exact."""
    if policy.archive.class_shares == "released" and policy.privacy.mode != "private":
        yield (
            ("archive", "class_shares"),
            "released needs privacy.mode: private: without a claim class counts have no noise, and the shares of the private "
            "patients would leave uncharged; write a public table, or leave it out for equal shares",
        )


RULES: tuple[Rule, ...] = (released_shares_are_paid_for,)
