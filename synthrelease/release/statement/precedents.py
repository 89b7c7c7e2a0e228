"""Published deployments of differential privacy in health, for context: whoever reads an epsilon asks what others took.

Source: OpenDP deployments registry (records as of July 2026).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Precedent:
    """One deployment.

    Attributes:
        name: Of the data product.
        by: Who published it.
        year: When.
        epsilon: As registered.
        delta: As registered; None for pure differential privacy.
        unit: What one unit of privacy protects.
        remark: What to know before comparing.
    """

    name: str
    by: str
    year: int
    epsilon: float
    delta: float | None
    unit: str
    remark: str


PRECEDENTS = (
    Precedent(
        name="National Registry of Live Births 2014, synthetic data",
        by="Israeli Ministry of Health",
        year=2024,
        epsilon=9.98,
        delta=None,
        unit="one birth",
        remark="a table; 2 x (4 for the generator + 0.99 for acceptance tests), doubled for private selection",
    ),
    Precedent(
        name="Exposure Notification analytics",
        by="Google and Apple",
        year=2021,
        epsilon=8.0,
        delta=1e-6,
        unit="one user's day",
        remark="counts",
    ),
    Precedent(
        name="HealthKit usage statistics",
        by="Apple",
        year=2017,
        epsilon=2.0,
        delta=None,
        unit="one event",
        remark="counts, local model: noise is added before anything is collected",
    ),
)
