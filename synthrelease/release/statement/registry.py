"""The statement as a tier-3 record for the OpenDP deployments registry: YAML that its curators can review as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

from synthrelease.errors import UsageError
from synthrelease.release.statement import words
from synthrelease.release.statement.facts import Guarantee, Statement
from synthrelease.release.statement.registry_schema import (
    Accounting,
    Administrative,
    Basic,
    Deployment,
    DeploymentModel,
    Implementation,
    Parameters,
    PrivacyLoss,
    RegistryRecord,
    Variant,
)

REGION = "Not specified"


def registry_record(statement: Statement, region: str = REGION) -> RegistryRecord:
    """The record, which is public: it tells nothing of other cohorts of the house.

    Args:
        statement: Of a run with a claim.
        region: What region the data describe or whose law applies; a policy does not say.

    Raises:
        UsageError: The run makes no claim: there is nothing to register.
    """
    guarantee = statement.guarantee
    if guarantee is None:
        raise UsageError(
            f"run '{statement.product.run}' was trained without privacy: it has no place in a registry of differential privacy",
            fix="Use --format text or json; they say that there is no guarantee.",
        )
    statement = statement.for_others()
    day = statement.released_on or statement.stated_on
    product = statement.product
    return RegistryRecord(
        url_slug=slug(product.release, product.curator, day),
        status="Draft",
        tier=3,
        deployment=Deployment(
            basic=Basic(
                name=product.release,
                data_curators=(product.curator,),
                intended_use=product.purpose,
                data_product_type="Synthetic data",
                data_product_region=region.strip() or REGION,
                description=_description(statement),
                publication_date=day,
                data_product_sector="Healthcare",
            ),
            dp_variant=_variant(statement),
            privacy_loss=_privacy_loss(statement, guarantee),
            deployment_model=_deployment_model(statement),
            accounting=_accounting(statement, guarantee),
            implementation=_implementation(statement, guarantee),
            administrative=_administrative(statement),
        ),
    )


def registry_yaml(statement: Statement, region: str = REGION) -> str:
    """The record as YAML; see :func:`registry_record`."""
    record = registry_record(statement, region).to_json()
    text: str = yaml.dump(
        record, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=float("inf")
    )
    return text


def slug(name: str, curator: str, day: str) -> str:
    """Name, curator and year as the registry spells them in addresses.

    >>> slug("Live Births of 2014", "Ministry of Health", "2024-02-01")
    'live-births-of-2014-ministry-of-health-2024'
    """
    parts = (name, curator, day[:4])
    return "-".join(re.sub(r"\W+", "-", part.lower()).replace("_", "-") for part in parts).strip("-")


def _description(statement: Statement) -> str:
    product = statement.product
    masks = f" with segmentations of {', '.join(product.segments)}" if product.segments else ""
    simulated = " The cohort is simulated: no person stands behind its patients." if product.simulated else ""
    return (
        f"{product.images} synthetic {product.content}, of the classes {', '.join(product.classes)}{masks}, in DICOM. They "
        f"are samples of a generator ({product.generator}) that was trained with patient-level differential "
        f"privacy.{simulated}"
    )


def _variant(statement: Statement) -> Variant:
    product = statement.product
    return Variant(
        variant_name="Approximate DP",
        data_domain=(
            f"Every set of patients, each with any number of {product.content}, their masks "
            f"({', '.join(product.segments) or 'none'}), one of the classes {', '.join(product.classes)}, and header fields. "
            "The domain follows from public settings alone."
        ),
        unprotected_quantities=_list(statement.scope.does_not_cover),
    )


def _privacy_loss(statement: Statement, guarantee: Guarantee) -> PrivacyLoss:
    return PrivacyLoss(
        privacy_unit="Patient-level",
        privacy_unit_details=(
            f"Two cohorts are adjacent when one results from the other by adding or removing one {guarantee.unit} with all "
            f"their images, masks, labels and header fields; {statement.product.identity}. The distance is the number of "
            "patients in the symmetric difference, its bound is 1. The number of patients is not taken as public."
        ),
        privacy_parameters=Parameters(epsilon=guarantee.epsilon, delta=guarantee.delta),
        privacy_parameters_details=_list([*words.bounds(guarantee), guarantee.strength, *guarantee.weakened_by]),
    )


def _deployment_model(statement: Statement) -> DeploymentModel:
    product = statement.product
    return DeploymentModel(
        model_name="Central",
        model_name_details="The curator holds the real images, trains the generator and samples the archive.",
        actors=_list(
            (
                f"Curator ({product.curator}): trusted with the real images; trains, samples and audits in the house.",
                "Two approvers: read the internal audit, which shows real images, before the release.",
                f"Recipients ({words.people(product)}): get the archive and its evidence, no model and no real image.",
                "Adversary: anybody who sees the release; assumed to know every other patient and the method.",
            )
        ),
        release_type="One release",
        release_type_details=" ".join(words.spending(statement.spending)),
        data_source_type="Static",
        data_source_type_details="The cohort is read once; a run on later data is another entry of its ledger.",
        access_type="Non-interactive",
        access_type_details=f"The archive is handed over as files. Sharing: {words.people(product)}.",
    )


def _accounting(statement: Statement, guarantee: Guarantee) -> Accounting:
    return Accounting(
        post_processing=(
            "Everything after the mechanisms: training on their noisy results, averaging of weights, sampling of images, masks "
            "and labels, and writing them as DICOM. No sample is filtered by comparison with real images."
        ),
        composition=_list(
            [
                "Adaptive composition of privacy loss distributions over all mechanisms listed under Implementation. "
                + words.accounting(guarantee),
                *words.spending(statement.spending),
            ]
        ),
    )


def _implementation(statement: Statement, guarantee: Guarantee) -> Implementation:
    scope = statement.scope
    return Implementation(
        preprocessing_and_hyperparameter_tuning=_list(
            (
                "Pre-processing: each image by itself (its own window or public limits, resampling to a public size); nothing "
                "is measured over the cohort without being one of the mechanisms.",
                f"Hyper-parameters: {scope.tuning}.",
            )
        ),
        mechanisms=_list(
            [
                *words.mechanism_line(guarantee),
                f"Sampling: {scope.sampling}.",
                f"Noise: {scope.noise}.",
                f"Floating point: {scope.floating_point}.",
                "Timing and other side channels: not protected; the computation runs in the curator's house.",
                f"Library: {statement.versions['trained_by']}; accounting by {guarantee.accountant_version}.",
            ]
        ),
        justification=_list(
            (
                "Sampling probability, number of steps, clip norms, noise and normaliser are constants of a policy that is "
                "frozen before an image is read; none follows from the number of patients.",
                "Each use of a mechanism is counted on disk before its noise is drawn; the count is what is accounted.",
                "Epsilon is recomputed from these counts for this record, and a record that disagrees is refused.",
                "The implementation is tested by replaying training with and without one patient under recorded noise; it is "
                "not formally verified.",
                f"The target (epsilon {guarantee.target_epsilon or guarantee.epsilon:g}) was chosen in the policy of the "
                "curator.",
            )
        ),
    )


def _administrative(statement: Statement) -> Administrative:
    published = (
        "Publication date: the day of release."
        if statement.released_on
        else "Not released when this record was written; the publication date is the day of writing."
    )
    return Administrative(
        sources=f"Contact: {statement.product.contact}. The release pack holds training.json, from which epsilon can be "
        "recomputed, and the statement in plain words.",
        notes=_list((published, words.origin(statement) + ".")),
        registry_authors=(statement.product.curator,),
    )


def _list(items: Iterable[str]) -> str:
    return "".join(f"- {item}\n" for item in items)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as literal blocks, as the registry asks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
