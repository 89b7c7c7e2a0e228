"""The registry record is one that the deployments registry takes: its keys, its order, its enumerations, its style."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from synthrelease.errors import UsageError
from synthrelease.records.files import read_json
from synthrelease.records.ledger import Ledger
from synthrelease.release.statement.registry import registry_record, registry_yaml, slug
from synthrelease.release.statement.registry_schema import RegistryRecord
from synthrelease.release.statement.stating import state

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

KEYS = {
    "basic": (
        *("name", "data_curators", "intended_use", "data_product_type", "data_product_region", "description"),
        *("publication_date", "data_product_sector"),
    ),
    "dp_variant": ("variant_name", "data_domain", "unprotected_quantities"),
    "privacy_loss": ("privacy_unit", "privacy_unit_details", "privacy_parameters", "privacy_parameters_details"),
    "deployment_model": (
        *("model_name", "model_name_details", "actors", "release_type", "release_type_details"),
        *("data_source_type", "data_source_type_details", "access_type", "access_type_details"),
    ),
    "accounting": ("post_processing", "composition"),
    "implementation": ("preprocessing_and_hyperparameter_tuning", "mechanisms", "justification"),
    "administrative": ("sources", "notes", "registry_authors"),
}


@pytest.fixture
def text(stepped: Path, charged: Callable[[Path], Ledger]) -> str:
    return registry_yaml(state(stepped, charged(stepped), NOW))


@pytest.fixture
def record(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_keys_stand_in_the_registrys_order(record: dict[str, Any]) -> None:
    assert tuple(record) == ("url_slug", "status", "tier", "deployment")
    assert tuple(record["deployment"]) == tuple(KEYS)
    for part, keys in KEYS.items():
        assert tuple(record["deployment"][part]) == keys


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_a_tier_three_record_leaves_nothing_empty(record: dict[str, Any]) -> None:
    assert (record["tier"], record["status"]) == (3, "Draft")
    assert all(value not in ("", None) for value in leaves(record))


def test_it_reads_back_as_a_valid_record(record: dict[str, Any], stepped: Path) -> None:
    parsed = RegistryRecord.model_validate_json(json.dumps(record))
    parameters = parsed.deployment.privacy_loss.privacy_parameters
    recorded = read_json(stepped / "training.json")["privacy"]
    assert (parameters.epsilon, parameters.delta) == (recorded["epsilon"], recorded["delta"])


def test_enumerations_are_the_registrys(record: dict[str, Any]) -> None:
    deployment = record["deployment"]
    assert deployment["basic"]["data_product_type"] == "Synthetic data"
    assert deployment["basic"]["data_product_sector"] == "Healthcare"
    assert deployment["dp_variant"]["variant_name"] == "Approximate DP"
    assert deployment["privacy_loss"]["privacy_unit"] == "Patient-level"
    model = deployment["deployment_model"]
    assert (model["model_name"], model["release_type"]) == ("Central", "One release")
    assert (model["data_source_type"], model["access_type"]) == ("Static", "Non-interactive")


def test_texts_are_plain_quoted_or_literal_and_the_date_is_a_string(text: str, record: dict[str, Any]) -> None:
    styles = {token.style for token in yaml.scan(text, Loader=yaml.SafeLoader) if hasattr(token, "style")}
    assert styles <= {None, "|", "'", '"'}
    assert record["deployment"]["basic"]["publication_date"] == "2026-03-01"
    assert not re.search(r"https?://", text)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.update(surprise=1),
        lambda r: r["deployment"]["basic"].update(surprise=1),
        lambda r: r["deployment"]["basic"].update(publication_date="1/3/2026"),
        lambda r: r["deployment"]["basic"].update(data_product_type="Images"),
        lambda r: r["deployment"]["basic"].update(data_curators=[]),
        lambda r: r["deployment"]["privacy_loss"]["privacy_parameters"].update(epsilon="8"),
        lambda r: r["deployment"]["implementation"].update(justification=""),
        lambda r: r["deployment"].pop("accounting"),
        lambda r: r.update(tier=0),
        lambda r: r.pop("status"),
    ],
)
def test_a_record_that_the_registry_would_turn_down_is_not_written(
    record: dict[str, Any], spoil: Callable[[dict[str, Any]], object]
) -> None:
    spoil(record)
    with pytest.raises(ValidationError):
        RegistryRecord.model_validate_json(json.dumps(record))


def test_a_region_is_told_when_somebody_gives_it(stepped: Path) -> None:
    statement = state(stepped, None, NOW)
    assert registry_record(statement).deployment.basic.data_product_region == "Not specified"
    assert registry_record(statement, "European Union").deployment.basic.data_product_region == "European Union"
    assert registry_record(statement, "  ").deployment.basic.data_product_region == "Not specified"


def test_addresses_are_spelled_as_the_registry_spells_them() -> None:
    name = "Israel's National Registry of Live Births of 2014"
    assert slug(name, "Israeli Ministry of Health", "2024-02-01") == (
        "israel-s-national-registry-of-live-births-of-2014-israeli-ministry-of-health-2024"
    )


def test_what_is_not_released_yet_says_so(stepped: Path, charged: Callable[[Path], Ledger]) -> None:
    ledger = charged(stepped)
    assert "Not released when this record was written" in registry_yaml(state(stepped, ledger, NOW))
    assert "the day of release" in registry_yaml(state(stepped, ledger, NOW, releasing=True))


def test_a_run_without_privacy_has_no_record(plain: Path) -> None:
    with pytest.raises(UsageError, match="trained without privacy") as caught:
        registry_yaml(state(plain, None, NOW))
    assert "text or json" in caught.value.fix
