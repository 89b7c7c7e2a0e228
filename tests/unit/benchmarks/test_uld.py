"""The ULD benchmark: parts are measured once and kept with their day, every goal can be missed, pages hold every part."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from benchmarks.uld import __main__ as command
from benchmarks.uld import alone, bias, copies, global_embedding, landmarks, reference, segmentation, throughput, ways
from benchmarks.uld.pastes import PASTES, World
from synthrelease.audit.images import ImageSet


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """Two parts that count how often they are measured; everything is written below ``tmp_path``."""
    asked = []

    def part(name):
        def measure(*, quick, short, note):
            note(f"{name} at work")
            asked.append((name, "short" if short else quick))
            return {"value": 0.5}

        drawn = {"copies": lambda *, quick: Image.new("L", (10, 6), 0), "landmarks": lambda *, quick: None}
        return SimpleNamespace(
            NAME=name,
            measure=measure,
            goals=lambda figures: {f"{name}_goal": reference.goal(0.9, figures["value"])},
            page=lambda figures: [f"## {name}", "", f"{figures['value']}"],
            picture=drawn[name],
        )

    monkeypatch.setattr(reference, "PARTS", ("copies", "landmarks"))
    monkeypatch.setattr(reference, "part", part)
    monkeypatch.setattr(reference, "code_digest", lambda name: "same")
    monkeypatch.setattr(reference, "HOME", tmp_path / "reference")
    monkeypatch.setattr(reference, "cache_folder", lambda: tmp_path / "cache")
    return SimpleNamespace(asked=asked, home=tmp_path / "reference")


def test_what_was_measured_by_the_same_code_is_not_measured_again(parts, capsys):
    command.main([])
    command.main([])
    assert parts.asked == [("copies", False), ("landmarks", False)]
    command.main(["--only", "copies", "--fresh"])
    command.main(["--quick"])
    assert parts.asked[2:] == [("copies", False), ("copies", True), ("landmarks", True)]
    command.main(["--short", "--only", "copies"])
    command.main(["--short", "--write"])
    assert parts.asked[5:] == [("copies", "short"), ("landmarks", "short")]
    assert "A short run" in (parts.home / "uld.md").read_text()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["goals"]["copies_goal"]["met"] is False


def test_the_record_is_written_whole_with_page_and_picture(parts):
    command.main(["--write"])
    record = json.loads((parts.home / "uld.json").read_text())
    assert record["command"] == "python -m benchmarks.uld --write"
    assert set(record) == {"command", "versions", "hardware", "date", "figures", "goals"}
    assert record["figures"]["copies"] == {"date": record["date"], "code": "same", "short": False, "value": 0.5}
    page = (parts.home / "uld.md").read_text()
    assert page.count(f"Measured on {record['date']} by code same.") == 2
    assert "## copies" in page
    assert "| copies_goal | at least 0.9 | 0.5 | **no** |" in page
    with Image.open(parts.home / "uld.png") as sheet:
        assert sheet.size == (10, 6)


def test_figures_follow_from_the_code_of_features_and_of_their_part():
    assert reference.code_digest("throughput") == reference.code_digest("throughput")
    assert len(reference.code_digest("throughput")) == 12


def test_a_quick_run_is_not_recorded_and_a_part_that_was_left_out_is_a_missed_goal(parts):
    with pytest.raises(SystemExit):
        command.main(["--write", "--quick"])
    assert not parts.home.exists()
    command.main(["--write", "--only", "copies"])
    assert "**Not measured in this run**: landmarks." in (parts.home / "uld.md").read_text()
    goals = json.loads((parts.home / "uld.json").read_text())["goals"]
    assert goals["landmarks_measured"]["met"] is False
    assert "copies_measured" not in goals


def aged(parts, **changes):
    """The record on disk with other words at the part that is about to be kept."""
    path = parts.home / "uld.json"
    record = json.loads(path.read_text())
    record["figures"]["copies"] |= changes
    path.write_text(json.dumps(record))
    return path


def test_a_part_that_is_kept_stays_as_it_was_recorded_with_its_day_and_code(parts):
    command.main(["--write", "--short"])
    path = aged(parts, date="2020-01-01", code="0123456789ab")
    command.main(["--write", "--only", "landmarks", "--keep", "--fresh"])
    figures = json.loads(path.read_text())["figures"]
    assert list(figures) == ["copies", "landmarks"]
    assert figures["copies"] == {"date": "2020-01-01", "code": "0123456789ab", "short": True, "value": 0.5}
    assert figures["landmarks"]["date"] != "2020-01-01"
    page = (parts.home / "uld.md").read_text()
    assert "Measured on 2020-01-01 by an earlier code, 0123456789ab, in a short run." in page
    assert "**A short run** of copies:" in page
    assert parts.asked[2:] == [("landmarks", False)]
    command.main(["--write", "--only", "landmarks", "--keep"])
    assert json.loads(path.read_text())["figures"] == figures


def test_a_part_of_a_record_that_tells_no_code_is_by_an_earlier_code(parts):
    """Older records tell the day and whether the run was a short one of the whole alone."""
    command.main(["--write"])
    path = parts.home / "uld.json"
    record = json.loads(path.read_text())
    record |= {"date": "2019-05-05", "short": True, "figures": {name: {"value": 0.5} for name in record["figures"]}}
    path.write_text(json.dumps(record))
    command.main(["--write", "--only", "landmarks", "--keep"])
    page = (parts.home / "uld.md").read_text()
    assert "Measured on 2019-05-05 by an earlier code, in a short run." in page
    assert json.loads(path.read_text())["goals"]["copies_goal"]["value"] == 0.5


def test_nothing_is_kept_where_there_is_no_record(parts):
    command.main(["--write", "--only", "landmarks", "--keep"])
    assert list(json.loads((parts.home / "uld.json").read_text())["figures"]) == ["landmarks"]


def test_a_goal_that_was_not_measured_is_missed_and_a_tie_is_no_lead():
    assert reference.goal(0, 0)["met"]
    assert not reference.goal(0, 0, "above")["met"]
    assert not reference.goal(1, 1, "below")["met"]
    assert reference.goal(1, 1, "at most")["met"]
    for wanted, value in ((1, None), (None, 1), (1, float("nan"))):
        found = reference.goal(wanted, value)
        assert (found["met"], None in (found["goal"], found["value"])) == (False, True)


def apart(figures):
    """As a record holds them: no two places share a part."""
    return json.loads(json.dumps(figures))


def row(found=0.0, leaning=0.5, flagged=0):
    return {
        "recall_at_family_5_percent": dict.fromkeys(PASTES, found),
        "clean_nearer_to_train": leaning,
        "clean_flagged": flagged,
    }


def good_copies():
    """Figures by which every goal of the copies is met."""
    rows = dict.fromkeys((*ways.GLOBAL, ways.LANDMARK), row()) | {ways.PLAIN: row(0.8)}
    rows |= {ways.CHECK: row(0.95), ways.SHIPPED: row(0.9)}
    named = {way: {"exact": {"named": 0.05}} for way in ("pixels, whole image", "landmark ULD, mean of the image")}
    named |= {ways.LANDMARK: {"exact": {"named": 0.1}}, ways.PLAIN: {"exact": {"named": 1.0}}}
    named[ways.SHIPPED] = {"exact": {"named": 1.0}, "altered": {"named": 0.8}}
    named[ways.UNTRAINED] = {"exact": {"named": 1.0}, "altered": {"named": 0.2}}
    worlds = {f"{source}, {side} px": {"ways": rows} for side in copies.SIDES for source in copies.SOURCES}
    return apart({"worlds": worlds, "named": {"ways": named}})


def missed(goals):
    return {name for name, aim in goals.items() if not aim["met"]}


def test_copies_are_found_by_the_check_and_by_nothing_that_should_be_blind():
    goals = copies.goals(good_copies())
    assert missed(goals) == set()
    assert len(goals) == 2 * (2 * (5 + 5 + 4 + 2) + 1) + 6


WORLD = "phantom, 64 px"


@pytest.mark.parametrize(
    ("way", "changed", "name"),
    [
        (ways.CHECK, row(0.85), "in_place"),
        (ways.CHECK, row(0.95, flagged=1), "clean_flagged"),
        (ways.PLAIN, row(0.95), f"lead over {ways.PLAIN}"),  # a tie
        (ways.SSCD_LIKE, row(0.95), f"lead over {ways.SSCD_LIKE}"),
        (ways.SSCD_LIKE, row(0.3), f"blind: {ways.SSCD_LIKE}"),
        (ways.LANDMARK, row(0.3), f"blind: {ways.LANDMARK}"),
        (ways.SHIPPED, row(0.9, leaning=0.7), f"leaning off one half: {ways.SHIPPED}"),
        (ways.CHECK, row(0.95, leaning=0.3), f"leaning off one half: {ways.CHECK}"),
    ],
)
def test_each_kind_of_bad_figure_of_copies_misses_its_goal(way, changed, name):
    figures = good_copies()
    figures["worlds"][WORLD]["ways"][way] = changed
    assert f"copies/{WORLD}/{name}" in missed(copies.goals(figures))
    del figures["worlds"][WORLD]["ways"][way]
    told = copies.goals(figures)[f"copies/{WORLD}/{name}"]
    assert (told["value"], told["met"]) == (None, False)


def test_one_paste_that_the_check_finds_no_better_is_no_lead():
    figures = good_copies()
    figures["worlds"][WORLD]["ways"][ways.PLAIN]["recall_at_family_5_percent"]["gain"] = 0.95
    assert missed(copies.goals(figures)) == {f"copies/{WORLD}/lead over {ways.PLAIN}"}


def test_goals_of_a_world_that_is_missing_are_missed_and_as_many_as_ever():
    figures = good_copies()
    del figures["worlds"]["pediatric, 128 px"]
    goals = copies.goals(figures)
    assert set(goals) == set(copies.goals(good_copies()))
    lost = missed(goals)
    assert lost == {name for name in goals if name.startswith("copies/pediatric, 128 px/")}
    assert {goals[name]["value"] for name in lost} == {None}


def test_naming_the_source_of_altered_pieces_must_gain_from_training():
    figures = good_copies()
    named = figures["named"]["ways"]
    named[ways.UNTRAINED]["altered"]["named"] = 0.7
    named[ways.PLAIN]["exact"]["named"] = 0.9
    named[ways.LANDMARK]["exact"]["named"] = 0.5
    assert missed(copies.goals(figures)) == {
        "named/altered beyond an untrained network",
        f"named/exact by {ways.PLAIN}",
        f"named/blind: {ways.LANDMARK}",
    }


def good_landmarks():
    """Figures by which every goal of the landmarks is met."""
    poor = {"median_px": 6.0, "within_4_px": 0.3, "median_px_by_seed": [6.0]}
    fine = {"median_px": 2.0, "within_4_px": 0.9, "median_px_by_seed": [1.9, 2.1]}
    posed = dict.fromkeys(landmarks.BASELINES, poor) | {landmarks.PUBLIC: fine}
    sources = {"phantom": {"posed": posed}, "pediatric": {"posed": posed | {landmarks.FITTED: fine}}}
    return apart({"sources": sources})


def test_landmarks_beat_every_baseline_and_the_worst_seed_counts():
    assert missed(landmarks.goals(good_landmarks())) == set()
    worse = good_landmarks()
    worse["sources"]["pediatric"]["posed"][landmarks.FITTED]["median_px_by_seed"] = [2.0, 6.0]
    assert missed(landmarks.goals(worse)) == {"landmarks_posed_pediatric_fitted_below_best_baseline_px"}
    weak = good_landmarks()
    weak["sources"]["phantom"]["posed"][landmarks.PUBLIC]["within_4_px"] = 0.5
    assert missed(landmarks.goals(weak)) == {
        "landmarks_posed_phantom_within_4_px",
        "landmarks_posed_phantom_within_4_px_twice_template",
    }


def test_landmarks_without_radiographs_or_without_a_baseline_are_missed():
    absent = good_landmarks()
    absent["sources"]["pediatric"] = {"not_run": "no data"}
    goals = landmarks.goals(absent)
    assert missed(goals) == {f"landmarks_posed_pediatric_{key}_below_best_baseline_px" for key in ("fitted", "public")}
    assert set(goals) == set(landmarks.goals(good_landmarks()))
    bare = good_landmarks()
    del bare["sources"]["phantom"]["posed"]["template 25 px"]
    assert len(missed(landmarks.goals(bare))) == 2


def good_segmentation():
    """Figures by which every goal of the segmentation is met."""
    guided = {"dice_by_seed": [0.86, 0.85], "dice_of_other_clusters": [0.1, 0.05]}
    real = {
        "laid": {pose: {"mean outline": 0.7} for pose in ("as taken", "posed")},
        "guided": {segmentation.GUIDED: {"as taken": guided, "posed": guided}},
    }
    seed = {"k_means_of_stage_1": [0.4, 0.5], "stage_2": 0.6, "stage_2_with_areas": 0.5}
    seed |= {f"areas_{name}": [0.5, 0.5] for name in segmentation.AREAS}
    return apart({"sources": {"pediatric": real}, "clusters": {"by_seed": [seed]}})


def test_lungs_are_found_better_than_by_an_outline_that_is_laid_in_place():
    goals = segmentation.goals(good_segmentation())
    assert (missed(goals), len(goals)) == (set(), 6)
    poor = good_segmentation()
    poor["sources"]["pediatric"]["guided"][segmentation.GUIDED]["as taken"]["dice_by_seed"] = [0.86, 0.7]
    assert missed(segmentation.goals(poor)) == {"lung_dice_without_a_mask", "lung_dice_above_outline_laid_in_place"}
    turned = good_segmentation()
    turned["sources"]["pediatric"]["laid"]["posed"]["mean outline"] = 0.9
    assert missed(segmentation.goals(turned)) == {"lung_dice_posed_above_outline_laid_in_place"}
    found = good_segmentation()
    found["sources"]["pediatric"]["guided"][segmentation.GUIDED]["as taken"]["dice_of_other_clusters"] = [0.9]
    assert missed(segmentation.goals(found)) == {"lung_dice_above_other_clusters"}


def test_clusters_must_gain_and_none_may_swallow_the_others():
    lost = good_segmentation()
    lost["clusters"]["by_seed"][0]["stage_2"] = 0.45  # as good as k-means
    assert missed(segmentation.goals(lost)) == {"best_cluster_gains_from_stage_2"}
    collapsed = good_segmentation()
    collapsed["clusters"]["by_seed"][0]["areas_stage_2"] = [0.9, 0.1]
    assert missed(segmentation.goals(collapsed)) == {"largest_cluster_share_of_pixels"}


def test_segmentation_without_radiographs_and_clusters_is_missed():
    absent = {"sources": {"pediatric": {"not_run": "no data"}}}
    goals = segmentation.goals(absent)
    assert missed(goals) == set(goals) == set(segmentation.goals(good_segmentation()))
    assert {aim["value"] for aim in goals.values()} == {None}


def test_the_row_without_anchors_says_what_it_is_not():
    ways_of = segmentation._recipes(quick=False)
    assert "as published" not in " ".join(ways_of)
    assert "0.1 of the network's rate" in segmentation._departures()
    assert "550 steps" in segmentation._departures()


def test_the_search_is_held_against_the_bare_product_and_a_fit_against_its_cohort():
    figures = {
        "search": {"share_of_tiled_product_rate": 0.7},
        "memory": {"2000": {"most_memory_mib": 300.0}, "20000": {"most_memory_mib": 320.0}},
    }
    assert missed(throughput.goals(figures)) == set()
    slow = figures | {"search": {"share_of_tiled_product_rate": 0.5}}
    assert missed(throughput.goals(slow)) == {"patch_search_share_of_tiled_product_rate"}
    grown = figures | {"memory": {"2000": {"most_memory_mib": 300.0}, "20000": {"most_memory_mib": 400.0}}}
    assert missed(throughput.goals(grown)) == {"fit_memory_growth_mib_for_ten_times_the_cohort"}
    otherwise = {"search": {"share_of_matmul_rate": 1.6}, "memory": {"2000": {"own_memory_mib": 300.0}}}
    assert len(missed(throughput.goals(otherwise))) == 2


def test_the_search_finds_every_patch_and_its_memory_is_told_though_more_was_held_before():
    """What this process once had and gave back is in no high-water mark of the other."""
    held = np.ones(40_000_000)
    del held
    found = throughput.search(1000, 64)
    assert found["gallery_patches"] == 1000 * 64
    assert found["found_right"] == 1.0
    assert found["comparisons_a_second"] == pytest.approx(found["patches_a_second"] * 64_000)
    # Room for a copy of the gallery and for one with another column, and some tiles.
    assert 0.8 * found["gallery_mib"] < found["memory_added_mib"] < 6 * found["gallery_mib"] + 20


def test_the_bare_product_computes_every_tile():
    gallery, queries = (np.ones((count, 4), np.float32) for count in (alone.TILE_COLUMNS + 3, 5))
    tile = np.zeros((alone.TILE_ROWS, alone.TILE_COLUMNS), np.float32)
    alone.product(queries, gallery, tile)
    assert tile[:5].tolist() == np.full((5, alone.TILE_COLUMNS), 4.0).tolist()


def test_memory_is_told_of_a_process_of_its_own():
    found = throughput.memory_of_a_fit(40, steps=1)
    assert 50 < found["most_memory_mib"] < 5000


def nearer(network, images):
    """How often an image's altered whole is nearer to its original than to a stranger."""
    altered = global_embedding.altered(torch.from_numpy(images), torch.Generator().manual_seed(0))
    table = network.describe(altered.numpy()) @ network.describe(images).T
    return float((table.diagonal()[:, None] > table)[~np.eye(len(table), dtype=bool)].mean())


def test_an_altered_copy_is_nearer_to_its_original_than_a_stranger_is():
    recipe = global_embedding.Recipe(steps=50, batch=32, learning_rate=1e-3)
    known, strangers = global_embedding.phantoms(64, 8).images, global_embedding.phantoms(40, 7).images
    network = global_embedding.fit(known, recipe)
    blank = global_embedding.fit(known, replace(recipe, steps=1, learning_rate=0.0))
    assert nearer(network, strangers) > max(0.8, nearer(blank, strangers) + 0.1)
    assert global_embedding.named(network, strangers) > 3 / len(strangers)


def test_the_global_embedding_comes_out_the_same_again_and_is_fitted_once_a_process():
    recipe = global_embedding.Recipe(phantoms=6, steps=2, batch=4)
    first, again = (global_embedding.fit(global_embedding.phantoms(6, 8).images, recipe) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert global_embedding.fitted(recipe) is global_embedding.fitted(recipe)
    table = first.describe(global_embedding.phantoms(6, 8).images)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1.0, rtol=1e-5)


def test_contrast_and_crowding_have_their_closed_forms():
    vectors = torch.eye(3, 8).repeat(2, 1)
    scores = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]) / 0.1
    expected = float(functional.cross_entropy(scores[None], torch.tensor([0])))
    assert float(global_embedding.contrast(vectors, 0.1)) == pytest.approx(expected, rel=1e-3)
    # Strangers stand at a right angle: the square root of two apart, however near one's partner is.
    assert float(global_embedding.crowding(vectors)) == pytest.approx(-0.5 * np.log(2))
    near = functional.normalize(torch.ones(3, 8) + 0.1 * torch.eye(3, 8), dim=1).repeat(2, 1)
    assert float(global_embedding.crowding(near)) > float(global_embedding.crowding(vectors)) + 1


def test_bias_is_paired_split_by_split():
    """Splits differ more than fits do; a difference of pairs does not see the splits."""
    chance = np.array([0.2, 0.4, 0.5, 0.6, 0.8])
    by_fit = {bias.TRAIN: chance + 0.1, bias.HOLDOUT: chance, bias.BOTH: chance, bias.SHIPPED: chance}
    found = bias.summary(by_fit)
    paired = found["fitted_to_train_less_fitted_to_holdout"]
    assert paired["mean"] == pytest.approx(0.1)
    assert paired["high"] - paired["low"] == pytest.approx(0.0, abs=1e-9)
    ours = found["shipped_less_half"]
    assert ours["mean"] == pytest.approx(0.0, abs=1e-9)
    assert ours["high"] == pytest.approx(2.776 * np.std(chance, ddof=1) / 5**0.5, rel=1e-3)


def noise(count, seed):
    images = np.random.default_rng(seed).uniform(-1, 1, (count, 1, 64, 64)).astype(np.float32)
    return ImageSet(images, np.zeros((count, 0, 64, 64), np.float32), np.zeros(count, np.int64), np.arange(count))


def test_every_fit_sees_its_own_side_and_takes_as_many_steps(monkeypatch):
    given = World(noise(6, 1), noise(5, 2), noise(8, 3), 0)
    seen = []

    def fitted(images, steps):
        seen.append((len(images), steps))
        return ways.untrained()

    monkeypatch.setattr(bias, "fitted", fitted)
    monkeypatch.setattr(bias, "world", lambda source, side, counts, number: given)
    found = bias.measure(["phantom"], lambda text: None, splits=2, counts=(6, 5, 8), steps=3)
    assert seen == 2 * [(6, 3), (5, 3), (11, 3)]
    leaned = found["sources"]["phantom"]["leaning_by_split"]
    assert set(leaned) == {bias.TRAIN, bias.HOLDOUT, bias.BOTH, bias.SHIPPED}
    assert found["sources"]["phantom"]["fitted_to_train_less_fitted_to_holdout"]["mean"] == 0.0  # one network for all
    page = "\n".join(bias.page(found))
    assert "Every fit took 3 steps, the shipped network 800" in page
    assert "| phantom | 2 | +0.000 (+0.000 to +0.000) |" in page


def test_a_source_that_is_not_there_is_left_out_of_the_bias(monkeypatch):
    def absent(*asked):
        raise bias.UnsuitableData("no radiographs", fix="Fetch them.")

    monkeypatch.setattr(bias, "world", absent)
    found = bias.measure(["pediatric"], lambda text: None)
    assert found["sources"] == {}
    assert "no radiographs" in bias.page(found)[-1]
