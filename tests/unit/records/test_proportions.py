"""Wilson's interval without a statistics library is the one of the audit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.audit import intervals
from synthrelease.records.proportions import wilson


@given(st.integers(1, 10_000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_it_agrees_with_the_audits(trials: int, share: float, confidence: float) -> None:
    hits = round(share * trials)
    assert wilson(hits, trials, confidence) == pytest.approx(intervals.wilson(hits, trials, confidence), abs=1e-9)


@pytest.mark.parametrize(("hits", "trials"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match="hits of"):
        wilson(hits, trials)
