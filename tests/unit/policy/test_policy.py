"""Requirements of the policy file: strict, complete, and every problem at once with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from synthrelease.errors import PolicyError, UsageError
from synthrelease.policy.loader import load_policy, policy_digest, policy_from, problems_of, resolved
from synthrelease.policy.rules import RULES
from synthrelease.policy.schema import Policy
from synthrelease.policy.shipped import shipped_file
from synthrelease.policy.strict_yaml import read_yaml

SHIPPED = sorted((Path(__file__).parents[3] / "policies").glob("*.yaml"))

GOOD = """\
schema: 1
purpose: test
sharing: {tier: registered}
roles: {operator: Olga, custodian: Carl}
cohort: {name: chest, classes: [normal, nodule], segments: [heart]}
privacy: {mode: private, epsilon: 8, delta: 1e-5, expected_patients: 700}
generator: {name: diffusion}
"""


def problems(text: str) -> list[str]:
    return [str(problem) for problem in problems_of(text)[1]]


def test_scientific_notation_is_a_number() -> None:
    policy, found = problems_of(GOOD)
    assert found == []
    assert policy is not None
    assert policy.privacy.delta == 1e-5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: no", "no"),
        ("a: 12:30", "12:30"),
        ("a: 010", "010"),
        ("a: 1e-5", 1e-5),
        ("a: -3", -3),
        ("a: .5", 0.5),
        ("a: 2026-01-01", "2026-01-01"),
        ("a: 'true'", "true"),
        ("a: true", True),
        ("a:", None),
        ("a: .inf", ".inf"),
    ],
)
def test_only_json_like_scalars_are_more_than_text(text: str, value: object) -> None:
    read = read_yaml(text).value["a"]
    assert read == value
    assert type(read) is type(value)


def test_a_key_given_twice_is_a_problem_and_never_wins_silently() -> None:
    text = GOOD.replace("epsilon: 8,", "epsilon: 8, epsilon: 800,")
    assert problems(text) == ["6:38: privacy.epsilon: given twice (first on line 6)"]


def test_five_errors_are_five_lines_with_places() -> None:
    text = (
        GOOD.replace("tier: registered", "tier: opne")
        .replace("delta: 1e-5", "detla: 1e-5")
        .replace("epsilon: 8", "epsilon: eight")
        .replace("name: diffusion", "name: difusion")
        .replace("segments: [heart]", "segments: [heart], resolution: 33")
    )
    found = problems(text)
    assert found == [
        "3:17: sharing.tier: expected 'open', 'registered', 'controlled' or 'internal', got 'opne'; "
        "did you mean 'open'?",
        "5:81: cohort.resolution: expected 16, 28, 32, 64, 128, 256, 512 or 1024, got 33",
        '6:35: privacy.epsilon: expected number, got "eight"',
        "6:42: privacy.detla: unknown setting; did you mean 'delta'?",
        "7:19: generator.name: expected 'moments', 'diffusion', 'pggan', 'drai', 'um', got 'difusion'; did you mean 'diffusion'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a: [1", "not valid YAML"),
        ("a: &x 1\nb: *x", "an alias"),
        ("a: !!python/object:os.system 1", "the tag"),
        ("a: {<<: {b: 1}}", "a merge"),
        ("- 1", "expected an object"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_yaml_that_hides_something_is_refused(text: str, message: str) -> None:
    assert any(message in line for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("delta: 1e-5, ", "", "privacy.delta"),
        ("delta: 1e-5", "delta: 5e-3", "privacy.delta"),
        ("mode: private", "mode: none", "privacy.epsilon"),
        ("expected_patients: 700", "expected_patients: 700, lifetime_epsilon: 4", "privacy.lifetime_epsilon"),
        ("expected_patients: 700", "expected_patients: 700, moments_share: 1", "privacy.moments_share"),
        ("expected_patients: 700", "expected_patients: 700, steps: 0", "privacy.moments_share"),
        ("expected_patients: 700", "expected_patients: 700, player_shares: {critic: 1}", "privacy.player_shares"),
        ("expected_patients: 700",
         "expected_patients: 700, clipping: separate, player_shares: {critic: 0.5, guide: 0.4}",
         "privacy.player_shares"),
        ("expected_patients: 700",
         "expected_patients: 700, clipping: separate, player_shares: {critic: 1.5, guide: -0.5}",
         "privacy.player_shares"),
        ("expected_patients: 700",
         "expected_patients: 700, clipping: separate, player_shares: {critic: 0.5, guide: 0.5}", ""),
        ("[normal, nodule]", "[normal, normal]", "cohort.classes[1]"),
        ("[normal, nodule]", "[normal, cyst]", "cohort.classes[1]"),
        ("segments: [heart]", "segments: [spleen]", "cohort.segments[0]"),
        ("segments: [heart]", "window: {mode: fixed, low: 3}", "cohort.window.mode"),
        ("segments: [heart]", "window: {low: 3}", "cohort.window.mode"),
        ("segments: [heart]", "resolution: 16, label: {csv: a.csv, attribute: PatientSex}", "cohort.label.attribute"),
        ("generator: {name: diffusion}", "generator: {name: moments, image_frequencies: 32}\narchive: {}", ""),
        ("generator: {name: diffusion}", "generator: {name: diffusion}\narchive: {class_shares: {normal: 0.5}}",
         "archive.class_shares"),
        ("generator: {name: diffusion}", "generator: {name: diffusion}\narchive: {class_shares: {cyst: 1}}",
         "archive.class_shares.cyst"),
        ("generator: {name: diffusion}", 'generator: {name: diffusion}\narchive: {release_date: "20261341"}',
         "archive.release_date"),
        ("custodian: Carl", "custodian: Carl, approvers: [olga, Ann]", "roles.approvers[0]"),
        ("custodian: Carl", "custodian: Carl, approvers: [Ann]", "roles.approvers"),
        ("tier: registered", "tier: internal", ""),
        ("generator: {name: diffusion}", "generator: {name: diffusion}\naudit: {publish: dp}", "audit.publish"),
        ("generator: {name: diffusion}", "generator: {name: diffusion}\naudit: {publish: coarse}", ""),
    ],
)  # fmt: skip
def test_rules_across_settings_name_the_setting(old: str, new: str, path: str) -> None:
    found = problems(GOOD.replace(old, new))
    assert (f": {path}: " in "\n".join(found)) if path else found == []


def test_a_policy_without_privacy_cannot_be_shared_widely() -> None:
    text = GOOD.replace(
        "privacy: {mode: private, epsilon: 8, delta: 1e-5, expected_patients: 700}", "privacy: {mode: none}"
    )
    assert any("sharing.tier" in line for line in problems(text))
    assert problems(text.replace("registered", "internal")) == []


def test_every_rule_says_why() -> None:
    assert all(rule.__doc__ for rule in RULES)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_policies_are_fine_and_run_anywhere(path: Path) -> None:
    policy = load_policy(path)
    assert policy.cohort.source == "phantom"
    assert shipped_file("policies", path.stem) == path


def test_resolved_policy_reads_back_and_spells_out_defaults() -> None:
    policy, _ = problems_of(GOOD)
    assert policy is not None
    values = resolved(policy)
    assert values["cohort"]["holdout_fraction"] == 0.3
    assert policy_from(json.loads(json.dumps(values))) == policy


def test_digest_follows_every_rule_but_not_the_folder() -> None:
    first, _ = problems_of(GOOD.replace("name: chest", "name: chest, source: /a/b"))
    second, _ = problems_of(GOOD.replace("name: chest", "name: chest, source: /c"))
    third, _ = problems_of(GOOD.replace("name: chest", "name: chest, source: /c").replace("epsilon: 8", "epsilon: 9"))
    assert first is not None
    assert second is not None
    assert third is not None
    assert policy_digest(first) == policy_digest(second) != policy_digest(third)


def test_unreadable_policy_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_policy(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes("purpose: é".encode("latin-1"))
    with pytest.raises(UsageError):
        load_policy(tmp_path / "latin.yaml")
    with pytest.raises(UsageError, match="dp_eps8"):
        shipped_file("policies", "nothing")
    (tmp_path / "bad.yaml").write_text("schema: 2\n")
    with pytest.raises(PolicyError, match=r"bad\.yaml:1:9: schema"):
        load_policy(tmp_path / "bad.yaml")


def test_schema_describes_every_setting() -> None:
    def bare(schema: dict[str, object]) -> list[str]:
        found = []
        definitions = {"Policy": schema, **schema["$defs"]}  # type: ignore[dict-item]
        for name, definition in definitions.items():
            for key, setting in definition.get("properties", {}).items():  # type: ignore[attr-defined]
                if "description" not in setting and "$ref" not in setting and "discriminator" not in setting:
                    found.append(f"{name}.{key}")
        return found

    assert [name for name in bare(Policy.model_json_schema()) if not name.endswith(".name")] == []


def test_strict_reader_agrees_with_plain_yaml_where_both_are_safe() -> None:
    for path in SHIPPED:
        text = path.read_text()
        ours, theirs = read_yaml(text).value, yaml.safe_load(text)
        assert ours["cohort"] == theirs["cohort"]
