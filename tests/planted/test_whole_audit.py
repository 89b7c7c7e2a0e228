"""The audit as a whole: records, determinism, holdouts too small, broken splits, crashing checks."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.checks import CHECKS
from synthrelease.audit.checks.tstr_labels import TrainSyntheticTestRealLabels
from synthrelease.audit.journal import key_of
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.errors import UsageError
from synthrelease.records.findings import Criterion, Verdict

LEAK_CHECKS = ("near_copies", "neighbour_permutation", "membership")


@pytest.fixture(scope="module", autouse=True)
def short_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthrelease.audit.utility.LABEL_STEPS", 60)
        patch.setattr("synthrelease.audit.utility.SEEDS", (0, 1))
        patch.setattr("synthrelease.audit.utility.MASK_STEPS", 60)
        yield


@pytest.fixture(scope="module")
def whole(clean):
    return run_audit(clean, load_profile("quick", check_ids()), 3, digests={"policy": "ab"})


def by_id(record):
    return {finding.id: finding for finding in record.findings}


def without_seconds(record):
    value = record.to_json()
    for finding in value["findings"]:
        finding["seconds"] = 0
    return json.dumps(value, sort_keys=True, allow_nan=False)


def test_every_check_answers_and_the_record_is_plain_json(whole):
    record, annex = whole
    assert tuple(f.id for f in record.findings) == check_ids()
    assert json.loads(without_seconds(record))["digests"] == {"policy": "ab"}
    assert all(f.threshold.because for f in record.findings)
    json.dumps(annex.to_json(), allow_nan=False)
    for finding in record.findings:
        s = finding.statistic
        assert s.value is None or s.low <= s.value <= s.high, finding.id


def test_only_the_headers_are_open_when_no_folder_is_given(whole):
    record, _ = whole
    assert record.verdict is Verdict.INCONCLUSIVE
    assert [f.id for f in record.findings if f.verdict is Verdict.FAIL] == []
    assert "header_leak" in record.reason


def test_the_public_record_names_no_row_and_no_patient(whole):
    record, annex = whole
    assert annex.look_alikes
    written = without_seconds(record)
    assert not any(key in written for key in ("train_row", "holdout_row", "synthetic_row", 'patients": ['))


def test_a_classifier_and_segmenter_learn_from_independent_people(whole):
    found = by_id(whole[0])
    labels, masks = found["tstr_labels"], found["tstr_masks"]
    assert labels.details["auroc_synthetic_trained"] > 0.8
    assert abs(labels.details["auroc_noise_trained"] - 0.5) < 0.3
    assert masks.details["dice"]["synthetic"] > masks.details["dice"]["mean_mask"] + 0.2


def test_the_same_seed_gives_the_same_record_and_leaving_checks_out_changes_no_other(clean, whole):
    again, _ = run_audit(replace(clean), load_profile("quick", check_ids()), 3, only=("membership", "prdc"))
    first, second = by_id(whole[0]), by_id(again)
    for name in ("split_sound", "membership", "prdc"):
        assert replace(first[name], seconds=0.0, p_adjusted=None) == replace(second[name], seconds=0.0, p_adjusted=None)
    assert again.verdict is Verdict.INCONCLUSIVE
    assert "not run" in again.reason


def test_shuffled_labels_lose_utility_and_fail_fidelity_only(clean):
    rng = np.random.default_rng(0)
    case = replace(clean, synthetic=replace(clean.synthetic, labels=1 - clean.synthetic.labels))
    found = TrainSyntheticTestRealLabels().measure(case, rng)
    assert found.statistic.low > 0.3


@pytest.mark.parametrize("holdout", [0, 59])
def test_too_small_a_holdout_is_inconclusive_with_the_number_needed(make_world, holdout):
    record, annex = run_audit(make_world(7, holdout=holdout), load_profile("quick", check_ids()), 0)
    found = by_id(record)
    for name in LEAK_CHECKS:
        assert found[name].verdict is Verdict.INCONCLUSIVE
        assert "60" in found[name].reason
    assert found["exact_copies"].verdict is Verdict.PASS
    assert annex.look_alikes == ()


def test_standard_profile_does_not_take_the_coarse_membership_row(clean):
    record, _ = run_audit(clean, load_profile("standard", check_ids()), 0, only=["membership"])
    membership = by_id(record)["membership"]
    assert membership.verdict is Verdict.INCONCLUSIVE
    assert "299" in membership.reason
    rows = membership.details["attacks"]["distance"]
    assert rows["tpr_at_1.0%_fpr"] == "not resolvable with 70 non-members"
    assert rows["tpr_at_10.0%_fpr"]["fpr"] <= 0.1


def with_shared_pictures(case, count):
    images = case.holdout.images.copy()
    images[:count] = case.train.images[11 : 11 + count, :, :, ::-1]
    return replace(case, holdout=replace(case.holdout, images=images))


def test_a_picture_on_both_sides_leaves_the_holdout_and_is_told(clean):
    record, _ = run_audit(with_shared_pictures(clean, 1), load_profile("quick", check_ids()), 0, only=["split_sound"])
    finding = record.findings[0]
    assert finding.verdict is Verdict.PASS
    assert finding.details["holdout_patients_set_aside"] == 1
    assert record.counts["holdout_patients"] == clean.counts["holdout_patients"] - 1


def test_many_pictures_on_both_sides_void_what_compares_with_the_holdout(clean):
    case = with_shared_pictures(clean, 8)
    found = by_id(run_audit(case, load_profile("quick", check_ids()), 0, only=LEAK_CHECKS)[0])
    assert "8 of 70 holdout patients" in found["split_sound"].reason
    assert {found[name].verdict for name in LEAK_CHECKS} == {Verdict.INCONCLUSIVE}


def test_a_patient_on_both_sides_voids_the_split(clean):
    patient = clean.holdout.patient.copy()
    patient[0] = clean.train.patient[0]
    case = replace(clean, holdout=replace(clean.holdout, patient=patient))
    record, _ = run_audit(case, load_profile("quick", check_ids()), 0, only=["split_sound"])
    assert "1 patients stand on both sides" in record.findings[0].reason


def test_another_scanner_in_the_holdout_voids_the_split(clean):
    case = replace(clean, holdout=replace(clean.holdout, images=clean.holdout.images * 0.8 - 0.1))
    record, _ = run_audit(case, load_profile("quick", check_ids()), 0, only=["split_sound"])
    assert record.findings[0].verdict is Verdict.INCONCLUSIVE
    assert "differ before any model" in record.findings[0].reason


def test_a_crashing_check_is_inconclusive_and_tells_only_the_kind_of_error(clean, monkeypatch):
    def crash(self, case, rng):
        raise ValueError("patient 4711 is to blame")

    monkeypatch.setattr("synthrelease.audit.checks.exact_copies.ExactCopies.measure", crash)
    record, _ = run_audit(clean, load_profile("quick", check_ids()), 0, only=["exact_copies"])
    finding = by_id(record)["exact_copies"]
    assert (finding.verdict, finding.criterion) == (Verdict.INCONCLUSIVE, Criterion.SINGLING_OUT)
    assert "ValueError" in finding.reason
    assert "4711" not in finding.reason


RESUMED = ("exact_copies", "membership")


class Killed(BaseException):
    """What a kill looks like from inside."""


def die(self, case, rng):
    raise Killed


def test_a_killed_audit_goes_on_where_it_was_and_gives_the_same_record(clean, tmp_path, monkeypatch):
    profile, keep = load_profile("quick", check_ids()), tmp_path / "audit-progress.private"
    undisturbed, annex = run_audit(replace(clean), profile, 5, only=RESUMED)

    with monkeypatch.context() as patch:
        patch.setattr("synthrelease.audit.checks.membership.Membership.measure", die)
        with pytest.raises(Killed):
            run_audit(replace(clean), profile, 5, only=RESUMED, keep=keep)
    assert {path.stem for path in keep.iterdir()} == {"split_sound", "exact_copies"}
    with monkeypatch.context() as patch:
        patch.setattr("synthrelease.audit.checks.split_sound.SplitSound.measure", die)
        patch.setattr("synthrelease.audit.checks.exact_copies.ExactCopies.measure", die)
        resumed, again = run_audit(replace(clean), profile, 5, only=RESUMED, keep=keep)
    assert without_seconds(resumed) == without_seconds(undisturbed)
    assert again.to_json() == annex.to_json()
    assert not keep.exists()


def test_what_was_kept_for_another_question_has_another_key(clean):
    images, labels = clean.synthetic.images.copy(), clean.train.labels.copy()
    images[3, 0, 5, 5] += 0.01
    labels[0] = 1 - labels[0]
    cases = [
        clean,
        replace(clean, synthetic=replace(clean.synthetic, images=images)),
        replace(clean, train=replace(clean.train, labels=labels)),
        replace(clean, holdout=None),
        replace(clean, claimed_epsilon=1.0),
    ]
    keys = {key_of(case, 5, {}, {}, "files") for case in cases}
    keys |= {key_of(clean, 6, {}, {}, "files"), key_of(clean, 5, {"name": "other"}, {}, "files")}
    keys |= {key_of(clean, 5, {}, {"numpy": "1"}, "files"), key_of(clean, 5, {}, {}, "other files")}
    assert len(keys) == 9
    assert key_of(replace(clean), 5, {}, {}, "files") in keys


def test_every_check_explains_itself_in_plain_sentences():
    for check in CHECKS:
        told = check.explanation
        for text in (check.question, told.how, told.good, told.weakness, told.source):
            assert len(text.split()) >= 2, check.id
            assert text == text.strip(), check.id
            assert text[0].isupper() or text[0].isdigit(), f"{check.id}: {text}"
        assert check.question.endswith("?"), check.id
        for text in (told.how, told.good, told.weakness):
            assert text.endswith("."), f"{check.id}: {text}"
            assert not re.search(r"\b(safe|anonymous)\b", text, re.I), check.id


def test_an_unknown_check_is_a_usage_error(clean):
    with pytest.raises(UsageError, match="no check named copies"):
        run_audit(clean, load_profile("quick", check_ids()), 0, only=["copies"])
