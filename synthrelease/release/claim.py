"""The privacy claim as a sheet that a register of differential-privacy deployments can take over.

Fields follow tier 3 of the NIST/OpenDP deployments registry; the texts are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthrelease.policy.schema import Policy

NOT_PROTECTED = (
    "facts about the site or the population as a whole",
    "relatives, and patients registered under two identities",
    "the settings of the policy: classes, windows, sizes, class shares",
    "the audit's own figures and rounded patient counts, which are computed on real patients",
    "that the archive passed its audit, and that the cohort could be read (at least 20 patients, every class present)",
    "anything that was known of a patient before the release",
)


def has_claim(training: Mapping[str, Any]) -> bool:
    """Whether training states a bound: a mode other than none, and a finite epsilon."""
    privacy = training.get("privacy") or {}
    return privacy.get("mode") != "none" and privacy.get("epsilon") is not None


def claim_in_words(training: Mapping[str, Any]) -> str:
    """The claim in one sentence."""
    if not has_claim(training):
        return "No formal guarantee: the generator was trained without differential privacy."
    privacy = training["privacy"]
    return (
        f"Differentially private with epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:.3g} for the addition or "
        f"removal of all images, masks and header fields of any one {privacy.get('unit', 'patient')}."
    )


def dp_claim(policy: Policy, training: Mapping[str, Any]) -> dict[str, Any]:
    """The claim sheet, also when there is no claim."""
    privacy = training.get("privacy") or {}
    claimed = has_claim(training)
    return {
        "schema": "synthrelease.dp_claim/1",
        "statement": claim_in_words(training),
        "basic": {
            "name": policy.release.name,
            "intended_use": policy.purpose,
            "data_product_type": "Synthetic data",
            "data_product_sector": "Healthcare",
            "data_curators": [policy.roles.custodian],
        },
        "dp_variant": {
            "variant_name": "Approximate DP" if claimed else None,
            "unprotected_quantities": list(NOT_PROTECTED),
        },
        "privacy_loss": {
            "privacy_unit": privacy.get("unit", "patient") if claimed else None,
            "privacy_unit_details": "add or remove one patient with all their images, masks and labels"
            if claimed
            else None,
            "privacy_parameters": {
                "epsilon": privacy.get("epsilon") if claimed else None,
                "delta": privacy.get("delta") if claimed else None,
            },
            "risk": privacy.get("risk") if claimed else None,
        },
        "deployment_model": {
            "model_name": "Central",
            "release_type": "One release",
            "access_type": policy.sharing.tier,
        },
        "accounting": {
            "accountant": privacy.get("accountant") if claimed else None,
            "post_processing": "every image, mask and header is computed from the private mechanisms' outputs"
            if claimed
            else None,
            "composition": "all mechanisms below are composed; other releases of the cohort stand in its ledger"
            if claimed
            else None,
        },
        "implementation": {"mechanisms": privacy.get("mechanisms", []) if claimed else []},
    }
