"""The ledger through a whole job: caps that refuse, cohorts that overlap, charges that are voided, nothing that leaks."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.stories.conftest import House

CARL = ("--by", "Carl Custodian")


def runs(house: House) -> set[str]:
    return {path.parent.name for path in house.home.glob("*/policy.resolved.json")}


def another(house: House, cohort: str, *, seed: int = 3) -> Path:
    """A policy for the same simulated hospital under another cohort name."""
    path = house.folder / f"{cohort}.yaml"
    text = house.policy.read_text().replace("name: story\n", f"name: {cohort}\n")
    path.write_text(text.replace("seed: 3", f"seed: {seed}").replace("epsilon: 8", "epsilon: 2"))
    return path


def test_a_run_is_refused_by_the_cap_and_admitted_when_it_is_raised_in_the_open(house: House) -> None:
    assert house.say("ledger", "cap", "--cohort", "story", "--epsilon", 8.1, "--delta", "1e-4", *CARL).code == 0
    before, head = runs(house), house.say("ledger", "--json").json[0]["head"]
    refused = house.say("train", "--policy", house.policy, "--threads", 1)
    assert refused.code == 5
    assert "lifetime cap is 8.1" in refused.err
    assert runs(house) == before
    assert house.say("ledger", "--json").json[0]["head"] == head

    raise_it = ("ledger", "cap", "--cohort", "story", "--epsilon", 14, "--delta", "1e-4", *CARL)
    assert house.say(*raise_it).code == 2
    assert house.say(*raise_it, "--statement", "Board of 3 May").code == 0
    assert house.say("train", "--policy", house.policy, "--threads", 1).code == 0
    (shown,) = house.say("ledger", "--json").json
    assert 8 < shown["epsilon"] <= 14
    assert [run["state"] for run in shown["runs"]] == ["spent", "spent"]
    assert [cap["raised"] for cap in shown["caps"]] == [False, True]


def test_the_same_patients_under_another_name_meet_the_same_cap(house: House) -> None:
    house.say("ledger", "cap", "--cohort", "story", "--epsilon", 8.1, "--delta", "1e-4", *CARL)
    refused = house.say("train", "--policy", another(house, "renamed"), "--threads", 1)
    assert refused.code == 5
    assert "the epsilon of story and the cohorts it shares patients with" in refused.err
    told = house.say("train", "--policy", another(house, "elsewhere", seed=4), "--threads", 1)
    assert told.code == 0
    by_name = {shown["cohort"]: shown for shown in house.say("ledger", "--json").json}
    assert set(by_name) == {"story", "elsewhere"}
    assert by_name["elsewhere"]["overlapping"] == []


def test_a_voided_run_is_neither_resumed_nor_released(house: House) -> None:
    name = house.run.name
    statement = ("--statement", "Disk wiped before anybody looked.")
    void = ("ledger", "void", "--cohort", "story", "--run", name, *CARL, *statement)
    refused = house.say(*void)
    assert refused.code == 2
    assert "still has checkpoint" in refused.err
    # Somebody keeps a copy, says that there is none, and puts it back.
    run, kept = house.run, house.home.parent / "kept"
    run.rename(kept)
    assert house.say(*void).code == 0
    kept.rename(run)
    assert house.say("sample", "--run", name).code == 6
    (run / "audit.json").unlink()
    resumed = house.say("train", "--policy", house.policy, "--resume")
    assert resumed.code == 6
    assert "was voided" in resumed.err
    (shown,) = house.say("ledger", "--json").json
    assert shown["epsilon"] == 0
    assert shown["runs"][0]["voided"]["statement"] == statement[1]


def test_nothing_of_key_and_patient_digests_leaves_the_house(house: House, tmp_path: Path) -> None:
    ledgers = house.home / "ledgers"
    key, digests = (ledgers / ".key.private").read_bytes(), (ledgers / "story.patients.private").read_bytes()
    # Even where a hurried hand has put them into the run: what is sealed is listed, never gathered.
    for path in (ledgers / ".key.private", ledgers / "story.patients.private", ledgers / "story.jsonl"):
        shutil.copy(path, house.run / path.name)
    for name in ("Ada Approver", "Bob Approver"):
        assert house.say("approve", "--by", name, "--statement", "I read the internal report.").code == 0
    assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 0
    sealed = [path for path in (tmp_path / "pack").rglob("*") if path.is_file()]
    assert len(sealed) > 10
    assert not [path for path in sealed if path.name.endswith((".private", ".jsonl")) and "approvals" not in path.name]
    entries = [digests[i : i + 16] for i in range(80, len(digests), 16)]
    assert len(entries) == 60
    for path in sealed:
        content = path.read_bytes()
        assert key not in content
        assert key.hex().encode() not in content
        assert not any(entry in content or entry.hex().encode() in content for entry in entries)
