"""The record format of the OpenDP deployments registry, as types: what we write is valid by construction.

Keys, nesting and enumerations are the registry's; unknown keys are refused, as there. Stricter than the registry in one
respect: every field of tier 3 must be filled, since a record that claims the tier and leaves fields empty claims too much.

Source: opendp/deployments-registry-data, schemas/deployments-schema.yaml, July 2026.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _day(text: str) -> str:
    """
    >>> _day("2026-03-01")
    '2026-03-01'
    """
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("not a date YYYY-MM-DD")
    return text


Filled = Annotated[str, Field(min_length=1)]
Day = Annotated[str, AfterValidator(_day)]
People = Annotated[tuple[Filled, ...], Field(min_length=1)]


class Part(BaseModel):
    """A part of the record: frozen, strict, without unknown keys. Fields are written in the order given here."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Basic(Part):
    """Tier 1: who published what, for what."""

    name: Filled
    data_curators: People
    intended_use: Filled
    data_product_type: Literal[
        "Summary statistics", "Machine learning model", "Dataset", "Synthetic data", "Interactive API", "SQL queries"
    ]
    data_product_region: Filled
    description: Filled
    publication_date: Day
    data_product_sector: Literal["Technology", "Healthcare", "Education", "Government", "Energy", "Finance"]


class Variant(Part):
    """Which differential privacy, over which data."""

    variant_name: Literal["Pure DP", "Approximate DP", "Zero-concentrated DP", "Renyi DP", "Custom"]
    data_domain: Filled
    unprotected_quantities: Filled


class Parameters(Part):
    """Figures of the guarantee. The registry's rho is left out: nothing here is zero-concentrated."""

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


class PrivacyLoss(Part):
    """Unit and figures."""

    privacy_unit: Filled
    privacy_unit_details: Filled
    privacy_parameters: Parameters
    privacy_parameters_details: Filled


class DeploymentModel(Part):
    """Who is trusted with what."""

    model_name: Literal["Local", "Central", "Shuffle", "Federated", "Varies"]
    model_name_details: Filled
    actors: Filled
    release_type: Literal["One release", "Many releases"]
    release_type_details: Filled
    data_source_type: Literal["Static", "Dynamic"]
    data_source_type_details: Filled
    access_type: Literal["Interactive", "Non-interactive"]
    access_type_details: Filled


class Accounting(Part):
    """What is done after the mechanisms, and how their losses add up."""

    post_processing: Filled
    composition: Filled


class Implementation(Part):
    """How it was done."""

    preprocessing_and_hyperparameter_tuning: Filled
    mechanisms: Filled
    justification: Filled


class Administrative(Part):
    """Where to read more, and who filled the record in."""

    sources: Filled
    notes: Filled
    registry_authors: People


class Deployment(Part):
    """One deployment, whole."""

    basic: Basic
    dp_variant: Variant
    privacy_loss: PrivacyLoss
    deployment_model: DeploymentModel
    accounting: Accounting
    implementation: Implementation
    administrative: Administrative


class RegistryRecord(Part):
    """A record of the registry at tier 3."""

    url_slug: Annotated[str, Field(pattern=r"^[^\W_]+(-+[^\W_]+)*-?$")]
    status: Literal[
        "Converted",
        "Draft",
        "Pending",
        "Changes Required",
        "Approved",
        "Approved (Update Requested)",
        "Approved (Pending)",
    ]
    tier: Literal[1, 2, 3]
    deployment: Deployment

    def to_json(self) -> dict[str, Any]:
        """As plain values, in the registry's order of keys."""
        return self.model_dump(mode="json")
