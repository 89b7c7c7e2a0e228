"""No place that a policy names leaves the house: not in the extract, and nowhere else in a pack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from synthrelease.errors import IntegrityError
from synthrelease.policy.loader import policy_from
from synthrelease.records.files import atomic_write_text, canonical_json, read_json
from synthrelease.release import seal
from synthrelease.release.envelope import parse_envelope
from synthrelease.release.extracts import WITHHELD, policy_extract

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
PRIVATE = "/data/StMary/dr_jones/atlas.npy"
RELATIVE = "StMary/dr_jones"

PLACES: dict[str, dict[str, Any]] = {
    "cohort.source": {},
    "cohort.label.csv": {},
    "audit.profile": {},
    "generator.public_images": {"name": "um", "guidance": "public"},
    "generator.guide": {"name": "pggan"},
}


def with_setting(policy: dict[str, Any], setting: str, value: Any, generator: dict[str, Any]) -> dict[str, Any]:
    """A policy with one setting more."""
    changed: dict[str, Any] = {**policy, **({"generator": dict(generator)} if generator else {})}
    *sections, name = setting.split(".")
    inner = changed
    for section in sections:
        inner[section] = dict(inner.get(section, {}))
        inner = inner[section]
    inner[name] = value
    return changed


def setting_of(values: dict[str, Any], setting: str) -> Any:
    inner: Any = values
    for name in setting.split("."):
        inner = inner[name]
    return inner


@pytest.mark.parametrize("named", [PRIVATE, RELATIVE, "StMary"])
@pytest.mark.parametrize("setting", PLACES)
def test_no_byte_of_a_place_is_in_the_pack(
    setting: str,
    named: str,
    tmp_path: Path,
    plain_policy: dict[str, Any],
    plain_run_of: Callable[[Path, dict[str, Any]], Path],
    key: Ed25519PrivateKey,
) -> None:
    if (setting, named) == ("audit.profile", "StMary"):
        named = "StMary.yaml"  # a bare name is that of a shipped profile
    policy = with_setting(plain_policy, setting, named, PLACES[setting])
    run = plain_run_of(tmp_path / "runs" / "chest", policy)
    assert b"StMary" in (run / "policy.resolved.json").read_bytes()
    seal(run, tmp_path / "pack", NOW, key=key)
    inside = {path: path.read_bytes() for path in (tmp_path / "pack").rglob("*") if path.is_file()}
    envelope = tmp_path / "pack" / "release.dsse.json"
    inside[envelope] = parse_envelope(inside[envelope]).payload
    assert [path.name for path, content in inside.items() if b"StMary" in content or b"jones" in content] == []
    assert setting_of(read_json(tmp_path / "pack" / "evidence" / "policy.resolved.json"), setting) == WITHHELD


@pytest.mark.parametrize("setting", PLACES)
def test_a_place_that_got_into_a_page_keeps_the_pack_from_being_sealed(
    setting: str, tmp_path: Path, plain_policy: dict[str, Any], plain_run_of: Callable[[Path, dict[str, Any]], Path]
) -> None:
    run = plain_run_of(tmp_path / "runs" / "chest", with_setting(plain_policy, setting, PRIVATE, PLACES[setting]))
    report = run / "report-external.html"
    atomic_write_text(report, report.read_text(encoding="utf-8").replace("figures", f"figures of {PRIVATE}"))
    with pytest.raises(IntegrityError, match=r"a path or host name stands in evidence/report-external\.html"):
        seal(run, tmp_path / "pack", NOW, key=None)
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("purpose", f"Teach from {PRIVATE}"),
        ("sharing.recipients", [f"whoever reads {PRIVATE}"]),
        ("sharing.agreement", PRIVATE),
        ("cohort.label.column", PRIVATE),
        ("cohort.label.attribute", PRIVATE),
        ("archive.license", f"see {PRIVATE}"),
        ("release.contact", PRIVATE),
    ],
)
def test_a_place_in_a_text_is_not_in_the_extract(setting: str, value: Any, plain_policy: dict[str, Any]) -> None:
    policy = policy_from(with_setting(plain_policy, setting, value, {}))
    assert b"StMary" not in canonical_json(policy_extract(policy, "d" * 64))


def test_what_names_no_place_leaves_as_it_is(plain_policy: dict[str, Any]) -> None:
    for guide in ("trained", "moments"):
        policy = policy_from(with_setting(plain_policy, "generator.guide", guide, {"name": "pggan"}))
        extract = policy_extract(policy, "d" * 64)
        assert extract["generator"]["guide"] == guide
        assert extract["audit"]["profile"] == "standard"
        assert extract["cohort"]["name"] == "chest"
        assert extract["cohort"]["label"]["csv"] is None
        assert extract["purpose"] == plain_policy["purpose"]
    painted = policy_from({**plain_policy, "generator": {"name": "um"}})
    assert policy_extract(painted, "d" * 64)["generator"]["public_images"] is None


def test_a_text_that_must_not_leave_is_withheld_from_the_extract_too(plain_policy: dict[str, Any]) -> None:
    policy = policy_from(with_setting(plain_policy, "release.contact", "ask at gpu-node-seven", {}))
    extract = policy_extract(policy, "d" * 64, ["gpu-node-seven"])
    assert extract["release"]["contact"] == WITHHELD
