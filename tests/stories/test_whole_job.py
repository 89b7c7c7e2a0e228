"""The whole job as a user meets it: verbs, exit codes, signatures, a sealed pack, and what goes wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import pydicom
import pytest

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.records.digests import digest_of_file
from tests.stories.conftest import POLICY, House, say

STATEMENT = ("--statement", "I read the internal report.")


def approve(house: House, *names: str) -> None:
    for name in names:
        assert house.say("approve", "--by", name, *STATEMENT).code == 0


def test_a_run_leaves_every_record_and_each_names_its_parent(finished: House) -> None:
    run = finished.run
    names = {path.name for path in run.iterdir()}
    assert {
        *("policy.resolved.json", "plan.json", "training.json", "checkpoint", "archive", "archive.json", "audit.json"),
        *("report-internal.html", "report-external.html"),
    } <= names
    training, archive, audit = (json.loads((run / f"{n}.json").read_text()) for n in ("training", "archive", "audit"))
    privacy = training["privacy"]
    assert privacy["unit"] == "patient"
    assert privacy["epsilon"] <= 8
    assert {"name", "noise_multiplier", "sampling_probability", "steps"} <= set(privacy["mechanisms"][0])
    assert audit["digests"]["archive"] == digest_of_file(run / "archive.json")
    assert archive["archive_digest"] == digest_of_file(run / "archive" / "manifest-sha256.txt")
    assert set(audit["findings"][0]) >= {
        *("id", "question", "criterion", "verdict", "statistic", "baseline", "threshold", "power", "n", "seed"),
        *("seconds", "reason"),
    }


def test_epsilon_can_be_recomputed_from_the_record_alone(finished: House) -> None:
    from synthrelease.privacy.accounting import Mechanism, epsilon_of

    privacy = json.loads((finished.run / "training.json").read_text())["privacy"]
    mechanisms = [Mechanism.from_json(each) for each in privacy["mechanisms"]]
    assert epsilon_of(mechanisms, privacy["delta"]) == pytest.approx(privacy["epsilon"], abs=1e-3)


def test_the_archive_is_valid_dicom_marked_synthetic(finished: House) -> None:
    files = sorted((finished.run / "archive" / "DICOM").rglob("?0000001"))
    files = [path for path in files if path.is_file()]
    assert len(files) == 80
    assert [problem for path in files[:6] for problem in instance_problems(path)] == []
    assert archive_problems(files) == []
    assert all(pydicom.dcmread(path, stop_before_pixels=True).SyntheticData == "YES" for path in files)


def test_nothing_of_the_cohort_is_outside_private_files(finished: House) -> None:
    phantom = next((finished.home / "phantoms").iterdir())
    header = pydicom.dcmread(next(phantom.rglob("IMG*.dcm")), stop_before_pixels=True)
    secrets = [str(header.PatientID), str(header.PatientName).split("^")[0], str(header.SOPInstanceUID)]
    for path in finished.run.rglob("*"):
        private = any("private" in part for part in path.relative_to(finished.run).parts)
        if path.is_file() and not private and path.name != "report-internal.html":
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path.name


def test_sampling_twice_gives_the_same_bytes(house: House) -> None:
    before = json.loads((house.run / "archive.json").read_text())
    assert house.say("sample", "--threads", 1).code == 0
    assert json.loads((house.run / "archive.json").read_text()) == before


def test_two_people_approve_and_the_pack_verifies(house: House, tmp_path: Path) -> None:
    key, public = tmp_path / "house.pem", tmp_path / "house.pub.pem"
    assert say("keygen", "--out", key, "--no-passphrase").code == 0
    assert house.say("release").code == 2
    assert house.say("release", "--key", key).code == 7
    approve(house, "Ann Approver")
    assert house.say("release", "--key", key).code == 7
    approve(house, "Bob Approver")
    assert house.say("release", "--dry-run").code == 0
    sealed = house.say("release", "--to", tmp_path / "pack", "--key", key, "--json")
    assert sealed.code == 0, sealed.err
    root = sealed.json["root_digest"]
    assert say("verify", tmp_path / "pack", "--expect", root).code == 0
    assert "signed by the key you gave" in say("verify", tmp_path / "pack", "--key", public).out
    assert bagit.Bag(str(tmp_path / "pack")).validate()
    assert say("verify", tmp_path / "pack", "--expect", "0" * 64).code == 6
    shown = house.say("ledger", "verify", "--json")
    assert shown.code == 0
    assert shown.json[0]["entries"] >= 4
    moved = tmp_path / "elsewhere" / "pack"
    moved.parent.mkdir()
    shutil.copytree(tmp_path / "pack", moved)
    assert say("verify", moved).code == 0


def test_one_flipped_byte_in_a_pack_is_named(house: House, tmp_path: Path) -> None:
    approve(house, "Ann Approver", "Bob Approver")
    assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 0
    image = next((tmp_path / "pack").rglob("I0000001"))
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.chmod(0o644)
    image.write_bytes(content)
    said = say("verify", tmp_path / "pack")
    assert said.code == 6
    assert image.relative_to(tmp_path / "pack").as_posix() in said.err


def test_the_same_approver_twice_is_refused(house: House) -> None:
    approve(house, "Ann Approver")
    said = house.say("approve", "--by", "ann  APPROVER", *STATEMENT)
    assert said.code == 7
    assert "another person" in said.err


def test_the_operator_may_not_approve(house: House) -> None:
    assert house.say("approve", "--by", "olga operator", *STATEMENT).code == 7


def test_a_refusal_blocks(house: House, tmp_path: Path) -> None:
    approve(house, "Ann Approver", "Bob Approver")
    assert house.say("refuse", "--by", "Cleo Checker", "--statement", "Masks look odd.").code == 0
    assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 7
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(("verdict", "code"), [("fail", 3), ("inconclusive", 4)])
def test_no_approval_without_a_passing_audit(house: House, verdict: str, code: int) -> None:
    audit = json.loads((house.run / "audit.json").read_text())
    audit["verdict"] = verdict
    (house.run / "audit.json").write_text(json.dumps(audit))
    assert house.say("approve", "--by", "Ann", *STATEMENT).code == code


def test_an_archive_changed_after_sampling_is_not_audited(house: House) -> None:
    labels = house.run / "archive" / "labels.csv"
    labels.write_text(labels.read_text().replace("nodule", "normal", 1))
    assert house.say("audit").code == 6


@pytest.mark.parametrize(
    "words", [{"license": "Ask QUILLFEATHER"}, {"filtered": 7}, {"versions": {"born": "20000114"}}, {"seed": 41}]
)
def test_the_record_of_an_archive_says_only_what_follows(house: House, words: dict[str, Any]) -> None:
    """It leaves the house as it is, so nobody may write into it."""
    record = house.run / "archive.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **words}))
    said = house.say("audit")
    assert said.code == 6
    assert "archive.json" in said.err


def test_a_record_changed_after_the_audit_is_not_released(house: House, tmp_path: Path) -> None:
    record = house.run / "archive.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "license": "Ask QUILLFEATHER"}))
    said = house.say("approve", "--by", "Ann Approver", "--statement", "Read.")
    assert said.code == 6
    assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 6


@pytest.mark.parametrize("verb", ["sample", "audit"])
def test_the_digest_that_enters_every_uid_is_the_generators(house: House, verb: str) -> None:
    record = house.run / "training.json"
    said = json.loads(record.read_text())
    said["digests"]["generator"] = "PAT00041"
    record.write_text(json.dumps(said))
    assert house.say(verb).code == 6


def test_the_archive_is_a_closed_world(finished: House) -> None:
    findings = {f["id"]: f for f in json.loads((finished.run / "audit.json").read_text())["findings"]}
    assert findings["closed_world"]["verdict"] == "pass"
    assert findings["closed_world"]["n"]["outgoing_files"] > 0


def test_thresholds_cannot_be_moved_after_training(house: House) -> None:
    policy = json.loads((house.run / "policy.resolved.json").read_text())
    profile = Path(policy["audit"]["profile"])
    before = profile.read_text()
    profile.write_text(before + "\n# moved\n")
    try:
        said = house.say("audit")
    finally:
        profile.write_text(before)
    assert said.code == 6
    assert "frozen" in said.err


def test_a_policy_changed_after_training_is_noticed(house: House) -> None:
    path = house.run / "policy.resolved.json"
    policy = json.loads(path.read_text())
    policy["privacy"]["epsilon"] = 1
    path.write_text(json.dumps(policy))
    assert house.say("sample").code == 6


def test_the_cap_refuses_a_second_run_on_a_real_folder_and_tells_of_it_on_a_phantom(house: House) -> None:
    phantom = next((house.home / "phantoms").iterdir())
    planned = house.say("plan", house.policy, "--cohort", phantom)
    assert planned.code == 5
    assert "over the cap: refused" in planned.out
    runs = len(list(house.home.glob("*/policy.resolved.json")))
    refused = house.say("train", "--policy", house.policy, "--cohort", phantom, "--threads", 1)
    assert refused.code == 5
    assert len(list(house.home.glob("*/training.json"))) == 1
    assert len(list(house.home.glob("*/policy.resolved.json"))) == runs
    assert house.say("plan", house.policy).code == 0


def test_a_refused_run_leaves_no_folder_and_does_not_hide_the_good_one(house: House, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "note.txt").write_text("nothing here")
    before = sorted(path.name for path in house.home.iterdir())
    assert house.say("train", "--policy", house.policy, "--cohort", tmp_path / "empty").code == 8
    assert sorted(path.name for path in house.home.iterdir()) == before
    assert house.say("sample", "--dry-run").code == 0


def test_a_run_that_stopped_after_training_is_resumed_without_a_second_charge(house: House) -> None:
    for name in ("audit.json", "archive.json"):
        (house.run / name).unlink()
    shutil.rmtree(house.run / "archive")
    before = house.say("ledger", "--json").json
    assert house.say("run", "--policy", house.policy, "--resume", "--threads", 1).code == 0
    assert house.say("ledger", "--json").json == before
    assert (house.run / "audit.json").exists()
    assert house.say("run", "--policy", house.policy, "--resume").code == 2


def test_train_and_then_audit_work_as_typed(house: House) -> None:
    for name in ("audit.json", "archive.json"):
        (house.run / name).unlink()
    shutil.rmtree(house.run / "archive")
    said = house.say("audit", "--threads", 1)
    assert said.code == 0, said.err
    assert (house.run / "archive.json").exists()


def test_a_run_is_not_resumed_on_another_cohort(house: House, tmp_path: Path) -> None:
    """An interrupted run on folder A; the same policy with --cohort B must not go on with it."""
    from synthrelease.policy.loader import load_policy, policy_digest, policy_from, resolved

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    kept = resolved(load_policy(house.policy, str(tmp_path / "a")))
    kept["cohort"]["source"] = "folder"
    begun = house.home / "story-interrupted"
    begun.mkdir()
    digest = policy_digest(policy_from(kept))
    for name, value in (
        ("policy.resolved.json", kept),
        ("plan.json", {"policy": digest}),
        ("source.private.json", {"source": str((tmp_path / "a").resolve())}),
    ):
        (begun / name).write_text(json.dumps(value))
    said = house.say("train", "--policy", house.policy, "--cohort", tmp_path / "b", "--resume")
    assert said.code == 2
    assert "on this cohort" in said.err
    assert begun.exists()


def test_classes_of_a_real_folder_need_not_be_the_phantoms(house: House, tmp_path: Path) -> None:
    policy = house.folder / "own.yaml"
    policy.write_text(
        house.policy.read_text()
        .replace("[normal, nodule, effusion]", "[small, large]")
        .replace("name: story\n", "name: own\n")
    )
    assert "the phantom has no 'small'" in house.say("plan", policy).err
    assert house.say("plan", policy, "--cohort", tmp_path).code == 0


def test_the_release_is_entered_only_into_the_ledger_that_holds_the_run(house: House, tmp_path: Path) -> None:
    approve(house, "Ann Approver", "Bob Approver")
    said = house.say("release", "--unsigned", "--to", tmp_path / "pack", "--ledger", tmp_path / "other")
    assert said.code == 6
    assert not (tmp_path / "pack").exists()
    assert not (tmp_path / "other").exists()


def test_a_recipient_is_told_what_the_archive_is_not_fit_for(house: House, tmp_path: Path) -> None:
    approve(house, "Ann Approver", "Bob Approver")
    assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 0
    assert "not shown by" in (tmp_path / "pack" / "RELEASE.md").read_text()


def test_what_a_run_holds_is_for_its_owner_alone(finished: House) -> None:
    assert finished.run.stat().st_mode & 0o077 == 0


def test_dry_runs_write_nothing(house: House) -> None:
    before = sorted(path for path in house.folder.rglob("*"))
    assert house.say("train", "--policy", house.policy, "--dry-run").code == 0
    assert house.say("sample", "--dry-run").code == 0
    assert sorted(path for path in house.folder.rglob("*")) == before


def test_any_two_folders_can_be_audited_without_a_run(house: House) -> None:
    """Pictures that another tool made, without a policy, with and without a planted copy."""
    from PIL import Image

    rng = np.random.default_rng(0)

    def fill(folder: Path, count: int, images: Any = None) -> list[Any]:
        folder.mkdir()
        made = [rng.integers(0, 255, (32, 32), dtype=np.uint8) for _ in range(count)] if images is None else images
        for number, pixels in enumerate(made):
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        return list(made)

    real = fill(house.folder / "real", 30)
    fill(house.folder / "holdout", 30)
    fill(house.folder / "clean", 30)
    fill(house.folder / "copied", 1, [real[4]])
    folders = ("--real", house.folder / "real", "--holdout", house.folder / "holdout")
    clean = house.say("audit", *folders, "--synthetic", house.folder / "clean", "--threads", 1)
    assert clean.code == 4, clean.err
    copied = house.say("audit", *folders, "--synthetic", house.folder / "copied", "--threads", 1)
    assert copied.code == 3
    assert "exact_copies" in copied.out


BAD = [
    (("train", "--policy", "absent.yaml"), 2, "shipped"),
    (("train",), 2, "--policy"),
    (("audit", "--run", "nothing"), 2, "no run"),
    (("audit", "--real", "a"), 2, "go together"),
    (("audit", "--holdout", "a"), 2, "go with"),
    (("verify", "nowhere"), 2, "no folder"),
    (("ledger", "show", "--cohort", "unknown"), 2, "no ledger"),
    (("train", "--policy", "dp_eps8", "--cohort", "nowhere"), 2, "not there"),
    (("train", "--policy", "dp_eps8", "--resume"), 2, "unfinished"),
]


@pytest.mark.parametrize(("words", "code", "told"), BAD, ids=[" ".join(words) for words, _, _ in BAD])
def test_wrong_usage_says_what_to_do(words: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    home = () if words[0] == "verify" else ("--out", tmp_path)
    said = say(*words, *home)
    assert said.code == code
    assert told in said.err


def test_a_folder_with_no_readable_image_is_refused_by_count(tmp_path: Path) -> None:
    folder = tmp_path / "SECRET^NAME"
    folder.mkdir()
    (folder / "SECRET-4711.dcm").write_bytes(b"not dicom at all")
    policy = tmp_path / "p.yaml"
    policy.write_text(POLICY.replace("PROFILE", "quick"))
    said = say("train", "--policy", policy, "--cohort", folder, "--out", tmp_path / "runs")
    assert said.code == 8
    assert "not a DICOM file" in said.err
    assert "SECRET" not in said.out + said.err


def test_an_error_is_json_when_json_was_asked_for(tmp_path: Path) -> None:
    said = say("audit", "--json", "--out", tmp_path)
    assert said.code == said.json["exit_code"] == 2


def test_a_bug_hides_its_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("PATIENT-4711")

    monkeypatch.setattr("synthrelease.records.runs.find_run", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = say("audit", "--out", tmp_path)
    assert said.code == 1
    assert "4711" not in said.err
    assert "4711" in next(tmp_path.glob("synthrelease-fault-*")).read_text()
