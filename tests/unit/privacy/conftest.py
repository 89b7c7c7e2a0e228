"""A small plan and its account."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthrelease.privacy.account import Account
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.names import GRADIENT_STEPS
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan


@pytest.fixture
def plan() -> PrivacyPlan:
    """One release and five steps."""
    return PrivacyPlan(
        target_epsilon=0.5,
        epsilon=0.4,
        delta=1e-5,
        releases=(
            GaussianRelease(Mechanism("class_sums", 20.0), 3.0),
            GaussianRelease(Mechanism(GRADIENT_STEPS, 15.0, 0.5, 5), 1.0),
        ),
        expected_patients=100,
        images_per_visit=2,
        noise_draws=2,
        step_groups={GRADIENT_STEPS: ("denoiser",)},
    )


@pytest.fixture
def account(plan: PrivacyPlan, tmp_path: Path) -> Account:
    """A fresh account of the plan."""
    return Account(tmp_path / "account.jsonl", plan, "r" * 64, resume=False)
