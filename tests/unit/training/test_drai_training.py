"""Content and style apart through the one training loop: plain, private as one release, and told how it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from discs_archive import Archive, policy
from safetensors import safe_open

from synthrelease.errors import Interrupted
from synthrelease.generators.registry import load_generator
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.checkpoint import Checkpoint
from synthrelease.training.train import train_with
from synthrelease.workflow.scoring import as_trained, scorer_of

SMALL: dict[str, Any] = {"width": 8, "style": 4, "content": 5, "batch": 8, "warmup_steps": 4, "steps": 5}
TOLD = {"style_usage", "style_scale", "content_scale", "predictor_content", "predictor_style", "conditioning_sigma"}


def trained(folder: Path, mode: str, *, resume: bool = False, stop_after: int | None = None, **settings: Any) -> Any:
    """A run on the discs."""
    archive = Archive()
    return train_with(
        policy("drai", mode, {**SMALL, **settings}),
        archive,
        archive.patients,
        "cohort",
        folder / "run",
        ledger=Ledger(folder / "discs.jsonl"),
        resume=resume,
        progress=Silent(),
        stop_after=stop_after,
        noise=OsNoise(),
    )


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    """Lines of the internal log."""
    lines = [json.loads(line) for line in (folder / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == name]


def test_a_plain_run_tells_how_the_game_stands(tmp_path: Path) -> None:
    record = trained(tmp_path, "none", predictor_steps=2)
    assert record["privacy"]["epsilon"] is None
    told = events(tmp_path, "diagnostics")
    assert [line["step"] for line in told] == list(range(5))
    assert all(line.keys() >= TOLD and line["visibility"] == "internal" for line in told)
    assert {line["player"] for line in events(tmp_path, "step")} == {"critics", "predictors", "encoder", "generator"}


def test_an_interrupted_run_ends_bit_equal_though_predictors_take_turns(tmp_path: Path) -> None:
    trained(tmp_path / "whole", "none", predictor_steps=3)
    with pytest.raises(Interrupted):
        trained(tmp_path / "parts", "none", predictor_steps=3, stop_after=2)
    trained(tmp_path / "parts", "none", predictor_steps=3, resume=True)
    whole, parts = (load_generator(tmp_path / name / "run" / "checkpoint").state() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("cycle", ["image", "latent"])
def test_a_private_run_pays_for_all_that_reads_real_images_as_one(tmp_path: Path, cycle: str) -> None:
    record = trained(tmp_path, "private", penalty_on="generated", cycle=cycle)
    # With the latent cycle the generator reads no real image, and takes its steps for nothing.
    together = {"critics", "predictors", "encoder"} | ({"generator"} if cycle == "image" else set())
    privacy = record["privacy"]
    assert privacy["epsilon"] <= 1.0
    stepped = [m for m in privacy["mechanisms"] if m["name"].startswith("gradient_steps")]
    assert len(stepped) == 1
    assert stepped[0]["steps"] == 6
    private = [line for line in events(tmp_path, "step") if line["stage"] == "steps"]
    assert {line["player"] for line in private if line["patients"]} == together
    assert {line["player"] for line in private} == {"critics", "predictors", "encoder", "generator"}
    # One step each in a step of the loop, also of the predictors: each is paid for.
    assert len([line for line in private if line["player"] == "predictors"]) == 6
    kept = {path.name for path in (tmp_path / "run" / "checkpoint").iterdir()}
    assert "generator.safetensors" in kept
    with safe_open(str(tmp_path / "run" / "checkpoint" / "generator.safetensors"), framework="pt") as stream:
        names = list(stream.keys())
    assert names
    assert not any(name.startswith(("encoder", "critics", "predictors")) or "trunk" in name for name in names)


def test_who_judges_a_finished_run_has_its_critics_and_encoder_as_they_were_trained(tmp_path: Path) -> None:
    trained(tmp_path, "none", predictor_steps=3)
    folder = tmp_path / "run" / "checkpoint"
    finished = load_generator(folder)
    born = {name: p.clone() for name, p in finished.critics.named_parameters()}  # type: ignore[attr-defined]
    kept = Checkpoint(folder).weights()
    judged = as_trained(finished, kept)
    assert judged is finished
    critics = dict(judged.critics.named_parameters())  # type: ignore[attr-defined]
    assert all(torch.equal(critics[name], kept[f"critics/weight/{name}"]) for name in critics)
    assert any(not torch.equal(critics[name], born[name]) for name in critics)
    encoder = dict(judged.encoder.named_parameters())  # type: ignore[attr-defined]
    assert all(torch.equal(encoder[name], kept[f"encoder/average/{name}"]) for name in encoder)


def test_a_run_whose_critics_were_not_kept_says_nothing_of_members(tmp_path: Path) -> None:
    trained(tmp_path, "none")
    folder = tmp_path / "run" / "checkpoint"
    (folder / "trainer.safetensors").unlink()
    assert as_trained(load_generator(folder), Checkpoint(folder).weights()) is None
    assert scorer_of(None) is None
