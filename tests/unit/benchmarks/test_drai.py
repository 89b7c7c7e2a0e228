"""The table of content and style: what its figures mean, and that a missed goal stays in the record."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.drai import __main__ as command
from benchmarks.drai import cohort, measuring, pace, reference
from benchmarks.drai.ways import WAYS
from synthrelease.cohort.phantom import simulate_patient
from synthrelease.generators.protocol import Batch

GOOD = {
    "class_accuracy": 0.76,
    "class_accuracy_real": 0.75,
    "class_from_content": 0.9,
    "class_from_style": 0.4,
    "style_from_style": 0.8,
    "style_from_content": 0.2,
    "relative_frechet": 3.0,
    "diversity": 0.9,
    "style_usage": 0.2,
}
WORSE = {**GOOD, "class_from_style": 0.8, "style_from_content": 0.7}


def rows(drai: dict[str, float], dai: dict[str, float]) -> reference.Rows:
    return {"DAI": {"0": dai, "1": dai}, "DRAI": {str(seed): drai for seed in reference.SEEDS}}


def test_contents_that_change_the_same_under_every_style_score_nothing() -> None:
    content, style = torch.randn(3, 1, 8), torch.randn(1, 20, 8)
    assert measuring.cifc_like(content + style) == pytest.approx(0.0, abs=1e-5)
    assert measuring.cifc_like(torch.randn(3, 20, 8)) > 0.5


def test_a_row_is_apart_by_what_its_codes_tell_and_do_not_tell() -> None:
    assert reference.apart(rows(GOOD, WORSE), "DRAI") == pytest.approx(0.9 - 0.4 + 0.8 - 0.2)
    assert reference.apart(rows(GOOD, WORSE), "conditional GAN") is None


def test_goals_are_met_and_missed_and_never_left_out() -> None:
    met = reference.goals(rows(GOOD, WORSE))
    missed = reference.goals(rows(WORSE, GOOD))
    assert met.keys() == missed.keys() == reference.goals({}).keys()
    assert all(goal["met"] for goal in met.values())
    assert not missed["disentanglement_over_the_best_other_row"]["met"]
    assert not missed["class_from_style_less_than_dai"]["met"]
    assert not any(goal["met"] for goal in reference.goals({}).values())


def test_the_page_has_a_line_for_every_row_and_goal() -> None:
    found = {"phantoms": rows(GOOD, WORSE), "chests": {"DAI": {"0": WORSE}}}
    pace = {"said": "CPU time.", "steps_per_s": {"DRAI": {"plain": 5.0, "private": 1.25}}}
    record = reference.result(found, command="python -m benchmarks.drai", pace=pace)
    page = reference.page(record)
    assert "## Radiographs of children" in page
    assert "| DRAI | 5.0 | 1.25 |" in page
    assert record["goals"] == reference.goals(found["phantoms"])
    assert "| DAI | 2 |" in page
    assert f"| DRAI | {len(reference.SEEDS)} |" in page
    assert "| DAI | 1 |" in page
    assert all(f"| {name} |" in page for name in record["goals"])


def test_style_factors_follow_the_image() -> None:
    image = simulate_patient(cohort.SEED, 0, cohort.SIDE).images[0]
    across, down, turn, size, brightness, contrast = cohort.style_of(image)
    assert 8 < across < 24
    assert 8 < down < 24
    assert abs(turn) < 0.5
    assert 8 < size < 40
    assert brightness == pytest.approx(float(np.mean(image.pixels)))
    assert contrast > 0


def test_classes_are_the_side_of_the_fluid() -> None:
    image = simulate_patient(cohort.SEED, 0, cohort.SIDE).images[0]
    blank = np.zeros((cohort.SIDE, cohort.SIDE), dtype=bool)
    right, left = blank.copy(), blank.copy()
    right[20:25, 4:9] = True
    left[20:25, 23:28] = True
    told = [cohort.class_of(replace(image, masks={"effusion": mask})) for mask in (blank, right, left)]
    assert [cohort.CLASSES[number] for number in told] == list(cohort.CLASSES)


def test_real_style_is_measured_on_pixels_and_lungs() -> None:
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., 10:20, 4:8] = 1.0
    masks[..., 10:20, 24:28] = 1.0
    style = cohort.measured_style(Batch(torch.full((1, 1, 32, 32), 0.25), masks, torch.zeros(1, dtype=torch.int64)))
    told = dict(zip(cohort.MEASURED, style[0].tolist(), strict=True))
    assert told["brightness"] == pytest.approx(0.25)
    assert told["contrast"] == pytest.approx(0.0, abs=1e-6)
    assert (told["across"], told["down"]) == pytest.approx((15.5, 14.5))
    assert 9 < told["width"] < 11


def test_four_rows_differ_by_switches_alone() -> None:
    same = [way for way in WAYS if way.build is WAYS[0].build]
    assert [way.name for way in same] == ["DAI", "DAI + reversal", "DAI + self-supervision", "DRAI"]
    assert {key for way in same for key in way.switches} == {"reversal_weight", "self_supervision_weight"}


@pytest.mark.slow
def test_the_quick_run_ends_with_its_goals(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(cohort, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(reference, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(pace, "cache_folder", lambda: tmp_path)
    command.main(["--quick"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last["goals"]) == set(reference.goals({}))
    assert not list(tmp_path.glob("drai-D*"))
