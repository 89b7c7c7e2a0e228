"""The table of few masks: what its figures mean, and that a goal of one seed is not met."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.um import __main__ as command
from benchmarks.um import measuring, reference, throughput
from benchmarks.um.cohorts import MILD, Sides
from benchmarks.um.ways import MaskGuided, settings
from synthrelease.errors import UnsuitableData
from synthrelease.generators.protocol import Batch, Spec


def discs(size: int, seed: int) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    at = torch.rand(size, 2, generator=rng) * 12 + 10
    axis = torch.arange(32).float()
    y, x = axis[:, None] - at[:, 0, None, None], axis - at[:, 1, None, None]
    masks = ((y.square() + x.square()).sqrt() < 6).float()[:, None]
    labels = torch.randint(2, (size,), generator=rng)
    return Batch(masks - 0.5 + 0.05 * torch.randn(masks.shape, generator=rng), masks, labels)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discs in the place of a cohort: no real image is needed."""
    sides = Sides(discs(40, 0), discs(60, 1), ("one", "other"), "disc", MILD, np.arange(60))
    monkeypatch.setattr(measuring, "COHORTS", {"discs": lambda side, train, held_out: sides})


def figures(gain: float, code: str | None = "now", date: str = "2026-01-02") -> dict[str, object]:
    cases = np.random.default_rng(0).uniform(0.4, 0.8, 30)
    values = {measuring.FEW: 0.0, measuring.MASKED: 0.01, measuring.UM: 0.01 + gain, measuring.BOTH: gain}
    of = {"cells": {}, "mm_fid": {"UM": 0.5}, "mm_std": {"UM": 0.5}}
    return {
        "date": date,
        "code": code,
        "masks": 50,
        "dice": {way: (cases + value).tolist() for way, value in values.items()},
        "scales_tasks": {"tasks": [], "distance": of, "variety": of},
    }


def test_dice_is_of_each_case_that_shows_something() -> None:
    truth = torch.zeros(3, 1, 4, 4)
    truth[0, :, :2], truth[1, :, :, :1] = 1.0, 1.0
    found = truth.clone()
    found[1] = 0.0
    assert measuring.dice(found, truth).tolist() == [1.0, 0.0]


def test_superpixels_that_see_the_mask_allow_all_of_it_and_others_what_their_size_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = discs(20, 1)
    hidden = Batch(torch.zeros_like(seen.images), seen.masks, seen.labels)
    for held_out in (seen, hidden):
        sides = Sides(seen, held_out, ("one", "other"), "disc", MILD, np.arange(len(held_out.labels)))
        monkeypatch.setattr(measuring, "COHORTS", {"discs": lambda side, train, held_out, sides=sides: sides})
        bound = measuring.bounds("discs", measuring.QUICK)
        if held_out is seen:
            assert min(bound.values()) > 0.99
        else:
            assert bound["32"] < bound["128"] < bound["256"] < 0.97


def test_masks_take_the_place_of_maps_in_the_baseline() -> None:
    batch = discs(20, 2)
    generator = MaskGuided(Spec(32, 2, 1), settings(width=8, batch=4, seed=0, transforms=MILD))
    critics, painter, _ = generator.players()
    told = critics.draw(batch, torch.Generator().manual_seed(0))
    assert torch.equal(told["guided"][:, :1], 2 * batch.masks - 1)
    lessons = painter.draw(batch, torch.Generator().manual_seed(0))
    inside = lessons["guided"][:, :1] > 0
    assert not torch.equal(inside, batch.masks > 0.5)
    assert lessons["image"][inside].mean() > lessons["image"][~inside].mean() + 0.5  # where a disc went, its mask went
    made = generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert set(made.masks.unique().tolist()) <= {0.0, 1.0}
    assert made.images.shape == made.masks.shape


def test_a_gain_at_one_seed_meets_no_goal_and_at_three_it_does() -> None:
    one = reference.result({"chests": {"50/0": figures(0.1)}}, {}, {}, "c")
    three = reference.result({"chests": {f"50/{seed}": figures(0.1) for seed in range(3)}}, {}, {}, "c")
    none = reference.result({"chests": {f"50/{seed}": figures(0.0) for seed in range(3)}}, {}, {}, "c")
    for name in ("chests_um_above_mask_conditioned_at_50", "chests_few_and_um_above_few_at_50"):
        assert not one["goals"][name]["met"]
        assert three["goals"][name]["met"]
        assert not none["goals"][name]["met"]


def test_intervals_are_over_owners_where_rows_tell_them() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 30)
    of_all, of_six = figures(0.1), figures(0.1) | {"owners": [i // 5 for i in range(30)]}
    for row in (of_all, of_six):
        row["dice"][measuring.UM] = [x + y for x, y in zip(row["dice"][measuring.UM], noise, strict=True)]  # type: ignore[index]
    found = [reference.gains({"50/0": row})["50"]["um_above_mask_conditioned"] for row in (of_all, of_six)]
    assert [each["owners"] for each in found] == [30, 6]
    assert found[0]["mean"] == found[1]["mean"]
    assert found[0]["low"] != found[1]["low"]


def test_a_row_tells_the_owner_of_each_case(made_up: None, monkeypatch: pytest.MonkeyPatch) -> None:
    row = measuring.row("discs", 8, 0, measuring.QUICK, lambda text: None, scales=False)
    assert row["owners"] == list(range(60))
    assert all(len(values) == 60 for values in row["dice"].values())


def test_a_goal_that_was_not_measured_is_not_in_the_record() -> None:
    goals = reference.result({"chests": {"25/0": figures(0.1)}}, {}, {}, "c")["goals"]
    assert {name.rsplit("_", 1)[1] for name in goals} == {"25"}
    assert reference.result({"chests": {"8/0": figures(0.1)}}, {}, {}, "c")["goals"] == {}


def test_numbers_of_masks_that_were_not_measured_again_stay_as_they_were_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.recorded() == {name: {} for name in ("bounds", "gains", "scales_tasks", "pace", "jobs")}
    before = reference.result({"chests": {f"50/{seed}": figures(0.1) for seed in range(3)}}, {}, {}, "c")
    for told in (before["figures"]["gains"]["chests"]["50"], *before["figures"]["scales_tasks"]["chests"].values()):
        del told["date"], told["codes"]  # as records were written once
    before["date"] = "2020-01-01"
    (tmp_path / "audits" / "reference").mkdir(parents=True)
    (tmp_path / "audits" / "reference" / "um.json").write_text(json.dumps(before))
    rows = {"chests": {"all/0": figures(0.2), "25/0": figures(0.2)}}
    record = reference.result(
        rows, {"chests": dict.fromkeys(("32", "64", "128", "256"), 1.0)}, {}, "c", reference.recorded()
    )
    told = record["figures"]["gains"]["chests"]
    assert list(told) == ["25", "50", "all"]
    assert told["50"]["date"] == "2020-01-01"
    assert told["25"]["date"] == "2026-01-02"
    assert set(record["figures"]["scales_tasks"]["chests"]) == {"25/0", "all/0", "50/0", "50/1", "50/2"}
    assert record["goals"]["chests_few_and_um_above_few_at_50"]["met"]
    assert "| 2020-01-01, by an earlier code |" in reference.page(record)
    again = reference.result({"chests": {"50/0": figures(0.2)}}, {}, {}, "c", reference.recorded())
    assert again["figures"]["gains"]["chests"]["50"]["seeds"] == 1  # what is measured takes the place of what is kept


BOUNDS = {"chests": dict.fromkeys(("32", "64", "128", "256"), 1.0)}


def test_a_row_keeps_its_day_and_code_and_one_of_an_earlier_code_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    now = reference.code_digest()
    rows = {
        "50/0": figures(0.1, now, "2026-01-03"),
        "50/1": figures(0.1, None, "2026-01-01"),
        "25/0": figures(0.1, now, "2026-01-04"),
        "100/0": figures(0.1, "0" * 12, "2026-01-05"),
    }
    for name, row in rows.items():
        masks, seed = name.split("/")
        kept = reference.kept_at("chests", int(masks), int(seed))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(row))
    record = reference.result(reference.measured_so_far(), BOUNDS, {}, "c")
    told = record["figures"]["gains"]["chests"]
    assert told["50"]["codes"] == [None, now]
    lines = [line for line in reference.page(record).splitlines() if line.startswith("| chests |")]
    days = {
        "25": "2026-01-04",
        "50": "2026-01-01 to 2026-01-03, some seeds by an earlier code",
        "100": "2026-01-05, by an earlier code",
        "50/0": "2026-01-03",
        "50/1": "2026-01-01, by an earlier code",
    }
    for name, day in days.items():
        assert [line for line in lines if f"| {name} |" in line and line.endswith(f"| {day} |")], name


def test_a_row_that_was_measured_before_rows_told_has_the_day_of_its_file_and_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    old = {"masks": 50, "dice": figures(0.1)["dice"], "scales_tasks": None}
    kept = reference.kept_at("chests", 50, 0)
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(old))
    os.utime(kept, (86_400 * 365, 86_400 * 365))
    found = reference.rows(["chests"], [50], [0], lambda text: None, quick=False)
    assert found["chests"]["50/0"] == old | {"date": "1971-01-01", "code": None}
    assert found == reference.measured_so_far()
    assert "| 1971-01-01, by an earlier code |" in reference.page(reference.result(found, BOUNDS, {}, "c"))


def test_a_row_that_is_measured_is_kept_with_day_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    bare = {name: value for name, value in figures(0.1).items() if name not in ("date", "code")}
    monkeypatch.setattr(measuring, "row", lambda *given, **options: bare)
    found = reference.rows(["chests"], [50], [0], lambda text: None, quick=False)["chests"]["50/0"]
    assert found == json.loads(reference.kept_at("chests", 50, 0).read_text())
    assert found["code"] == reference.code_digest()
    assert found["date"] == reference.result({}, {}, {}, "c")["date"]


def test_the_digest_follows_every_file_that_is_named_and_the_effort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(any(reference.ROOT.glob(pattern)) for pattern in reference.CODE)
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    digests = [reference.code_digest()]
    for name in ("synthrelease/generators/um/model.py", "synthrelease/features/uld/weights.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"one")
        digests.append(reference.code_digest())
        (tmp_path / name).write_bytes(b"other")
        digests.append(reference.code_digest())
    monkeypatch.setattr(measuring, "WHOLE", measuring.QUICK)
    digests.append(reference.code_digest())
    assert len(set(digests)) == 6


def test_figures_over_scales_and_tasks_carry_intervals_and_what_was_left_out_is_said() -> None:
    sides = Sides(discs(60, 0), discs(90, 1), ("one", "other"), "disc", MILD, np.arange(90))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthrelease.audit.task_cells.NAMED", ("no_such_extractor",))
        patch.setattr("synthrelease.audit.task_cells.STEPS", 2)
        patch.setattr(measuring, "RESAMPLES", 4)
        patch.setattr("synthrelease.audit.task_cells.ExtractorChoice", missing)
        told = measuring.scales_tasks(sides, {measuring.UM: discs(60, 2), measuring.MASKED: discs(60, 3)})
    assert told["left_out"] == {"no_such_extractor": "not here\n  Install it."}
    for kind, together in (("distance", "mm_fid"), ("variety", "mm_std")):
        assert set(told[kind][f"{together}_low"]) == set(told[kind][together])
        for name, value in told[kind][together].items():
            assert told[kind][f"{together}_low"][name] < told[kind][f"{together}_high"][name]
            assert value == pytest.approx(told[kind][f"{together}_low"][name], rel=0.5)
            low, middle, high = (np.array(told[kind][f"cells{end}"][name]) for end in ("_low", "", "_high"))
            assert (low <= middle).all()
            assert (middle <= high).all()
    row = figures(0.1) | {"scales_tasks": told}
    page = reference.page(reference.result({"chests": {"50/0": row}}, BOUNDS, {}, "c"))
    value, low, high = (told["distance"][f"mm_fid{end}"][measuring.UM] for end in ("", "_low", "_high"))
    assert f"| UM | {value:.3f} ({low:.3f} to {high:.3f}) |" in page
    assert "no_such_extractor (not here Install it.)" in page


def missing(name: str) -> object:
    """An extractor whose package is not installed."""
    raise UnsuitableData("not here", fix="Install it.")


def test_an_extractor_that_older_rows_lack_is_named_without_a_reason() -> None:
    page = reference.page(reference.result({"chests": {"50/0": figures(0.1)}}, BOUNDS, {}, "c"))
    assert "efficientnet_lite0 (reason not recorded)" in page


@pytest.mark.usefixtures("made_up")
def test_a_quick_run_prints_every_way_and_ends_in_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)  # no record: nothing to carry over
    scores = {"tasks": [], "distance": {"cells": {}, "mm_fid": {}}, "variety": {"cells": {}, "mm_std": {}}}
    monkeypatch.setattr(measuring, "scales_tasks", lambda sides, made: scores)
    monkeypatch.setattr(throughput, "measured", lambda note, quick: {})
    command.main(["--quick", "--cohort", "discs", "--masks", "8"])
    out = capsys.readouterr().out
    assert all(way in out for way in measuring.WAYS)
    assert json.loads(out.splitlines()[-1]) == {"goals": {}}
