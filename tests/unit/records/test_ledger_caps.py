"""The custodian's cap stands in the ledger, with everything that became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.ledger import Event, Ledger, State

MECHANISM: dict[str, Any] = {"name": "sums", "noise_multiplier": 2.0, "sampling_probability": 1.0, "steps": 3}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger that nothing was written to."""
    return Ledger(tmp_path / "chest.jsonl", clock=lambda: "2026-01-02T03:04:05Z")


def test_a_cohort_has_no_cap_until_one_is_set(ledger: Ledger) -> None:
    assert ledger.cap is None
    cap = ledger.set_cap(10, 1e-5, by=" Carl Custodian ")
    assert ledger.cap == cap
    assert (cap.epsilon, cap.delta, cap.by, cap.at, cap.raised) == (
        10,
        1e-5,
        "Carl Custodian",
        "2026-01-02T03:04:05Z",
        False,
    )


def test_the_last_cap_holds_and_every_earlier_one_stays_visible(ledger: Ledger) -> None:
    ledger.set_cap(10, 1e-5, by="Carl")
    ledger.set_cap(4, 1e-5, by="Carl")
    ledger.set_cap(12, 1e-5, by="Dora", statement="Board of 3 May.")
    assert [(cap.epsilon, cap.by, cap.raised) for cap in ledger.caps()] == [
        (10, "Carl", False),
        (4, "Carl", False),
        (12, "Dora", True),
    ]
    assert ledger.caps()[-1].statement == "Board of 3 May."
    assert ledger.cap == ledger.caps()[-1]


@pytest.mark.parametrize(("epsilon", "delta"), [(10.5, 1e-5), (10, 2e-5), (5, 2e-5)])
def test_a_cap_that_allows_more_needs_a_statement(ledger: Ledger, epsilon: float, delta: float) -> None:
    ledger.set_cap(10, 1e-5, by="Carl")
    with pytest.raises(UsageError, match="raising it needs a statement"):
        ledger.set_cap(epsilon, delta, by="Carl", statement="  ")
    assert len(ledger.caps()) == 1
    assert ledger.set_cap(epsilon, delta, by="Carl", statement="Agreed.").raised


@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [(-1, 1e-5), (0, 1e-5), (float("nan"), 1e-5), (float("inf"), 1e-5), (1, 0), (1, 0.01), (1, float("nan"))],
)
def test_a_cap_that_means_nothing_is_refused(ledger: Ledger, epsilon: float, delta: float) -> None:
    with pytest.raises(UsageError, match="means nothing"):
        ledger.set_cap(epsilon, delta, by="Carl")
    assert ledger.entries() == ()


@pytest.mark.parametrize("by", ["", "  ", "Carl\nEve", "Carl\x1b[31m", "x" * 2001, "\udcff"])
def test_who_sets_a_cap_has_a_name_that_a_terminal_can_show(ledger: Ledger, by: str) -> None:
    with pytest.raises(UsageError, match="who sets the cap"):
        ledger.set_cap(1, 1e-5, by=by)


def test_an_edited_cap_breaks_the_chain(ledger: Ledger) -> None:
    ledger.set_cap(10, 1e-5, by="Carl")
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b'"epsilon":10', b'"epsilon":99'))
    with pytest.raises(IntegrityError, match="changed at entry 1"):
        ledger.caps()


def test_an_entry_that_contradicts_the_chain_is_an_integrity_error(ledger: Ledger) -> None:
    ledger.append(Event.CAPPED, "", {"epsilon": "much"})
    with pytest.raises(IntegrityError, match="entry 1"):
        ledger.caps()
    ledger.append(Event.SPENT, "one", {"reservation": "f" * 64})
    with pytest.raises(IntegrityError, match="entry 2"):
        ledger.charges()


def test_the_history_keeps_voided_runs_and_what_ran_of_what_was_reserved(ledger: Ledger) -> None:
    one = ledger.append(Event.RESERVED, "one", {"mechanisms": [MECHANISM], "delta": 1e-5, "who": "Olga"})
    two = ledger.append(Event.RESERVED, "two", {"mechanisms": [MECHANISM], "delta": 1e-5, "who": "Olga"})
    ledger.append(Event.RESERVED, "three", {"mechanisms": [MECHANISM], "delta": 1e-5, "who": "Olga"})
    ledger.spend(one.hash, [{**MECHANISM, "steps": 2}])
    ledger.void(two.hash, who="Carl", statement="Destroyed unseen.")
    history = ledger.history()
    assert [(c.run, c.state) for c in history] == [
        ("one", State.SPENT),
        ("two", State.VOIDED),
        ("three", State.RESERVED),
    ]
    assert (history[0].reserved[0]["steps"], history[0].mechanisms[0]["steps"]) == (3, 2)
    assert history[1].voided == {"who": "Carl", "at": "2026-01-02T03:04:05Z", "statement": "Destroyed unseen."}
    assert {c.who for c in history} == {"Olga"}
    assert [c.run for c in ledger.charges()] == ["one", "three"]


def test_a_voided_reservation_is_neither_found_nor_voided_again(ledger: Ledger) -> None:
    one = ledger.append(Event.RESERVED, "one", {"mechanisms": [MECHANISM], "delta": 1e-5})
    ledger.void(one.hash, who="Carl", statement="Destroyed unseen.")
    for act in (
        lambda: ledger.charge_of(one.hash),
        lambda: ledger.spend(one.hash, []),
        lambda: ledger.void(one.hash, who="Carl", statement="Again."),
    ):
        with pytest.raises(IntegrityError, match="was voided on 2026-01-02"):
            act()
