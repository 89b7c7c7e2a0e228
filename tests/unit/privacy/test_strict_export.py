"""Nothing internal is in a folder that leaves the house."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from synthrelease.privacy.export import export_problems


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """What a release pack holds."""
    folder = tmp_path / "pack"
    (folder / "archive" / "p0").mkdir(parents=True)
    (folder / "archive" / "p0" / "image.dcm").write_bytes(b"\0" * 200)
    (folder / "archive" / "labels.csv").write_text("SOPInstanceUID,label\n")
    evidence = folder / "evidence"
    evidence.mkdir()
    training = {"seeds": {"privacy_noise": None}, "privacy": {"epsilon": 8.0, "noise": "operating system"}}
    (evidence / "training.json").write_text(json.dumps(training))
    (evidence / "approvals.jsonl").write_text('{"event":"approved","digest":"d"}\n{"withheld":true,"digest":"e"}\n')
    (evidence / "report-external.html").write_text('<meta name="synthrelease-edition" content="external">')
    (folder / "RELEASE.md").write_text("# Release")
    return folder


def test_a_release_pack_holds_nothing_internal(pack: Path) -> None:
    assert export_problems(pack) == ()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("cohort.private/pixels.bin", "x", "private by name"),
        ("audit-annex.private.json", "{}", "private by name"),
        ("evidence/source.private.json", "{}", "private by name"),
        ("checkpoint/trainer.bin", "x", "state of the trainer"),
        ("checkpoint/run.json", "{}", "state of the trainer"),
        ("evidence/account.jsonl", "{}", "state of the trainer"),
        ("archive/generator.safetensors", "x", "weights"),
        ("archive/Model.PT", "x", "weights"),
        ("archive/store.npy", "x", "arrays of a store"),
        ("archive/state.pkl", "x", "nobody can check"),
        ("report-internal.html", "x", "shows real patients"),
        ("renamed.html", '<meta name="synthrelease-edition" content="internal">', "internal edition"),
        ("events.jsonl", '{"event":"step","loss":0.5,"visibility":"internal"}\n', "not marked for release"),
        ("events.jsonl", '{"event":"step","loss":0.5}\n', "not marked for release"),
        ("evidence/notes.jsonl", '{"visibility":"internal"}\n{"visibility":"release"}\n', "1 entries"),
        ("evidence/note.json", '{"visibility":"internal"}', "not marked for release"),
        ("evidence/torn.json", '{"a":', "cannot be read"),
        ("evidence/more.json", '{"trainer":{"rng_state":[1,2]}}', "trainer.rng_state"),
        ("evidence/extract.json", '{"privacy":{"noise_seed":5}}', "privacy.noise_seed"),
    ],
)
def test_an_internal_artefact_is_found_wherever_it_lies(pack: Path, name: str, content: str, why: str) -> None:
    path = pack / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    found = export_problems(pack)
    assert any(why in problem.message for problem in found), found
    assert {problem.rule for problem in found} == {"nothing_internal_is_exported"}


def encoder_bytes(kind: str, *digests: str) -> bytes:
    from synthrelease.features.uld.encoder import Encoder, Provenance
    from synthrelease.features.uld.recipe import Recipe

    return Encoder("landmarks", Recipe(steps=0).build(), Provenance(kind, "told", digests)).to_bytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["archive/labels.csv", "evidence/training.json", "RELEASE.md", "archive/p0/image.dcm"])
def test_an_encoder_of_patients_is_found_under_whatever_name(pack: Path, name: str) -> None:
    (pack / name).write_bytes(encoder_bytes("private", "a" * 64))
    (problem,) = export_problems(pack)
    assert "an encoder of patients' images" in problem.message
    (pack / name).write_bytes(encoder_bytes("public"))
    (problem,) = export_problems(pack)
    assert "holds weights" in problem.message


def test_a_renamed_file_of_pytorch_is_found(pack: Path) -> None:
    torch.save({"a": torch.zeros(3)}, pack / "archive" / "notes.txt")
    (problem,) = export_problems(pack)
    assert "holds weights" in problem.message


def test_events_that_are_marked_for_release_may_leave(pack: Path) -> None:
    (pack / "events.jsonl").write_text('{"event":"sealed","visibility":"release"}\n')
    assert export_problems(pack) == ()


def test_a_link_is_refused_unread(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (pack / "linked.json").symlink_to(tmp_path / "secret.json")
    (problem,) = export_problems(pack)
    assert "is a link" in problem.message
