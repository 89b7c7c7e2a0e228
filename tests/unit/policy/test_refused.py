"""What would void the claim is refused where it is written, with the mathematics, one item at a time."""

from __future__ import annotations

import pytest

from synthrelease.policy.loader import problems_of
from synthrelease.policy.refused import REFUSED
from synthrelease.policy.strict import STRICT_RULES, relaxed

LINES = {
    "cohort": "cohort: {name: chest, classes: [normal, nodule], segments: [heart]}",
    "privacy": "privacy: {mode: private, epsilon: 8, delta: 1e-5, expected_patients: 700}",
    "generator": "generator: {name: diffusion}",
    "archive": "archive: {}",
}
HEAD = "schema: 1\npurpose: test\nsharing: {tier: registered}\nroles: {operator: Olga, custodian: Carl}\n"


def written(section: str, extra: str, *, mode: str = "private") -> str:
    """A good policy with one more setting at the end of a section."""
    lines = dict(LINES)
    if mode == "none":
        lines["privacy"] = "privacy: {mode: none}"
        head = HEAD.replace("registered", "internal")
    else:
        head = HEAD
    inside = lines[section].removesuffix("}")
    lines[section] = f"{inside}{'' if inside.endswith('{') else ', '}{extra}}}"
    return head + "\n".join(lines.values()) + "\n"


def changed(old: str, new: str) -> str:
    """The good policy with another value."""
    text = HEAD + "\n".join(LINES.values()) + "\n"
    assert old in text
    return text.replace(old, new)


def problems(text: str) -> list[str]:
    return [str(problem) for problem in problems_of(text)[1]]


CASES = [
    # section, setting, rule, a word of the mathematics
    ("privacy", "unit: image", "patient_is_the_unit", "k * epsilon"),
    ("privacy", "unit: slice", "patient_is_the_unit", "exp(k * epsilon)"),
    ("privacy", "clip_per: example", "patient_is_the_unit", "one clipped vector"),
    ("cohort", "identity: {missing: image}", "patient_key_is_known", "a fifth of the protection"),
    ("cohort", "identity: {missing: study}", "patient_key_is_known", "k * epsilon"),
    ("cohort", "identity: {key: StudyInstanceUID}", "patient_key_is_known", "a person of its own"),
    ("privacy", "sampling: shuffle", "patients_are_poisson_sampled", "independent draws only"),
    ("privacy", "sampling: fixed", "patients_are_poisson_sampled", "independent draws only"),
    ("privacy", "poisson_sampling: false", "patients_are_poisson_sampled", "independent draws only"),
    ("privacy", "shuffle: true", "patients_are_poisson_sampled", "several times"),
    ("privacy", "sampling_probability: auto", "constants_are_public", "one patient more or less"),
    ("privacy", "sampling_probability: 1/n", "constants_are_public", "one patient more or less"),
    ("privacy", "sampling_probability: null", "constants_are_public", "one patient more or less"),
    ("privacy", "normaliser: dataset", "constants_are_public", "expected_patients"),
    ("privacy", "batch_size: 64", "constants_are_public", "sampling_probability"),
    ("privacy", "epochs: 10", "constants_are_public", "steps"),
    ("generator", "minibatch_stddev: true", "patients_do_not_mix", "more than the clip norm"),
    ("generator", "norm: batch", "patients_do_not_mix", "gradients of all others"),
    ("cohort", "window: {mode: percentile}", "preprocessing_is_public", "most unusual patients"),
    ("cohort", "window: {mode: minmax}", "preprocessing_is_public", "no epsilon covers"),
    ("cohort", "window: {mode: auto}", "preprocessing_is_public", "no epsilon covers"),
    ("cohort", "window: {mode: zscore}", "preprocessing_is_public", "no epsilon covers"),
    ("cohort", "window: {mode: fixed, low: p1, high: 3}", "preprocessing_is_public", "no epsilon covers"),
    ("cohort", "normalisation: zscore", "preprocessing_is_public", "no epsilon covers"),
    ("archive", "labels: real", "nothing_real_is_sampled", "without noise"),
    ("archive", "labels: cohort", "nothing_real_is_sampled", "without noise"),
    ("archive", "masks: real", "nothing_real_is_sampled", "without noise"),
    ("archive", "headers: copy", "nothing_real_is_sampled", "without noise"),
    ("archive", "class_shares: cohort", "nothing_real_is_sampled", "without noise"),
    ("archive", "class_shares: measured", "nothing_real_is_sampled", "without noise"),
    ("archive", "images: same", "nothing_real_is_sampled", "without noise"),
    ("privacy", "seed: 7", "noise_has_no_seed", "subtracts it"),
    ("privacy", "noise_seed: 7", "noise_has_no_seed", "subtracts it"),
    ("privacy", "secure: false", "noise_has_no_seed", "operating system"),
    ("generator", "early_stopping: true", "nothing_is_selected_on_real_data", "one more release"),
    ("privacy", "early_stopping: {patience: 3}", "nothing_is_selected_on_real_data", "one more release"),
    ("generator", "select_best: fid", "nothing_is_selected_on_real_data", "one more release"),
    ("privacy", "accountant: gdp", "pld_makes_the_number", "12 % below"),
    ("privacy", "accountant: rdp", "pld_makes_the_number", "upper sanity line"),
    ("privacy", "accountant: prv", "pld_makes_the_number", "one accountant"),
    ("privacy", "adaptive_clipping: true", "every_release_is_charged", "nobody counts"),
    ("privacy", "clip_norm: adaptive", "every_release_is_charged", "nobody counts"),
]


@pytest.mark.parametrize(("section", "setting", "rule", "mathematics"), CASES, ids=[case[1] for case in CASES])
def test_a_setting_that_voids_the_claim_is_refused_by_name_with_its_reason(
    section: str, setting: str, rule: str, mathematics: str
) -> None:
    found = problems(written(section, setting))
    assert len(found) == 1
    assert f"({rule})" in found[0]
    assert mathematics in found[0]
    assert "\n" not in found[0]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("delta: 1e-5", "delta: 1/n", "(constants_are_public)"),
        ("delta: 1e-5", "delta: auto", "(constants_are_public)"),
        ("expected_patients: 700", "expected_patients: dataset", "(constants_are_public)"),
        ("expected_patients: 700", "expected_patients: null", "never computed from the cohort"),
        ("classes: [normal, nodule]", "classes: auto", "(preprocessing_is_public)"),
    ],
)
def test_a_public_value_is_not_computed_from_the_cohort_and_the_place_is_told(old: str, new: str, rule: str) -> None:
    text = changed(old, new)
    (found,) = problems(text)
    before = text[: text.index(new) + new.index(" ") + 1]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    section = "cohort" if line == 5 else "privacy"
    assert found.startswith(f"{line}:{column}: {section}.{new.split(':')[0]}: ")
    assert rule in found


def test_the_place_of_an_unknown_setting_is_that_of_its_name() -> None:
    (found,) = problems(written("privacy", "accountant: gdp"))
    assert found.startswith("6:75: privacy.accountant: refused (pld_makes_the_number): ")


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ("privacy", "sampling: poisson"),
        ("privacy", "poisson_sampling: true"),
        ("privacy", "secure: true"),
        ("privacy", "accountant: PLD"),
        ("privacy", "clip_per: patient"),
        ("cohort", "identity: {key: PatientID}"),
        ("generator", "early_stopping: false"),
        ("archive", "masks: generated"),
    ],
)
def test_who_asks_for_what_holds_anyway_is_told_so(section: str, setting: str) -> None:
    (found,) = problems(written(section, setting))
    assert "holds always and is no setting" in found


@pytest.mark.parametrize("section", ["privacy", "cohort", "generator", "archive"])
def test_other_unknown_settings_stay_unknown(section: str) -> None:
    (found,) = problems(written(section, "colour: blue"))
    assert "unknown setting" in found


def test_a_slip_of_the_pen_is_not_taken_for_a_belief() -> None:
    (found,) = problems(written("cohort", "window: {mode: heder}"))
    assert "did you mean 'header'" in found
    (found,) = problems(changed("delta: 1e-5", "delta: small"))
    assert "expected number" in found


def test_without_a_claim_only_what_is_real_at_sampling_is_explained() -> None:
    assert "unknown setting" in problems(written("generator", "early_stopping: true", mode="none"))[0]
    assert "nothing_real_is_sampled" in problems(written("archive", "masks: real", mode="none"))[0]
    assert problems(written("cohort", "identity: {missing: study}", mode="none")) == []


def test_strict_is_the_default_and_what_it_is_relaxed_to_is_named() -> None:
    strict, found = problems_of(written("privacy", "steps: 300"))
    assert found == []
    assert strict is not None
    assert strict.privacy.strict
    assert relaxed(strict) == ()
    text = written("cohort", "identity: {missing: study}").replace("mode: private", "mode: private, strict: false")
    loose, found = problems_of(text)
    assert found == []
    assert loose is not None
    assert relaxed(loose) == ("patient_key_is_known",)
    assert relaxed(loose.model_copy(update={"privacy": loose.privacy.model_copy(update={"mode": "none"})})) == ()


def test_relaxing_does_not_make_a_voided_claim_possible() -> None:
    text = written("privacy", "unit: image, strict: false")
    assert "(patient_is_the_unit)" in problems(text)[0]


def test_every_rule_says_why() -> None:
    assert all(len(entry.reason) > 60 and entry.settings for entry in REFUSED)
    assert all(rule.__doc__ for rule in STRICT_RULES)
