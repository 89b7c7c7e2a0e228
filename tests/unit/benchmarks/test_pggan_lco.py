"""The benchmark of latent class optimisation: what is counted, which runs are kept, and a page that says what was missed."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from benchmarks.pggan_lco import __main__ as command
from benchmarks.pggan_lco import before, private, private_steps, reference, runs, tables, ways
from benchmarks.pggan_lco.judging import Holdout, Judge, Labelled, Share, nearest, shares, spread
from synthrelease.cohort.store import Split
from synthrelease.generators.pggan.thresholds import Thresholds
from synthrelease.policy.generators import LatentClass
from synthrelease.policy.loader import load_policy


def test_hits_are_counted_by_the_class_that_was_asked_for():
    seen, asked = torch.tensor([0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 2])
    assert shares(seen, asked, 3) == (Share(1, 2), Share(1, 2), Share(1, 1))
    told = Share(7, 10).to_json()
    assert (told["value"], told["of"]) == (0.7, 10)
    assert told["low"] < 0.7 < told["high"]
    assert Share(0, 0).to_json() == {"value": 0.0, "low": 0.0, "high": 1.0, "of": 0}


def test_distances_and_spread():
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    assert nearest(features[:1], features[1:]).tolist() == [1.0]
    assert spread(features, torch.tensor([0, 0, 1])) == pytest.approx(5.0)
    assert spread(features, torch.tensor([0, 1, 2])) == 0.0


def test_the_judge_learns_and_comes_out_the_same():
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (160,), generator=rng)
    images = 0.2 * torch.randn(160, 1, 16, 16, generator=rng) + 0.8 * (labels[:, None, None, None] - 0.5)
    first, second = (Judge(Labelled(images, labels), 2, steps=25) for _ in range(2))
    assert (first.classes(images) == labels).float().mean() > 0.9
    assert torch.equal(first.features(images), second.features(images))


@pytest.mark.parametrize(
    "name", ["pediatric_pggan_plain", "pediatric_pggan_large", "pediatric_pggan_eps8", "pediatric_pggan_steps_eps8"]
)
def test_policies_are_valid_whole_and_shortened(name, tmp_path):
    path = reference.ROOT / "benchmarks" / "policies" / f"{name}.yaml"
    assert load_policy(path).generator.name == "pggan"
    short = tmp_path / "short.yaml"
    short.write_text(runs.shortened(path.read_text()))
    policy = load_policy(short)
    assert policy.cohort.resolution == 16
    assert yaml.safe_load(short.read_text())["archive"] == {"images": 24}


def share(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "of": 30}


def row(value):
    return {
        "judge_hit": share(value),
        "judge_hit_of_accepted": share(value),
        "judge_hit_by_class": {"a": share(value)},
        "judge_hit_class_mean": value,
        "guide_hit": 1.0,
        "accepted": 1.0,
        "calls": 9.0,
        "nearest_real": 1.0,
        "spread": 1.0,
        "critic": None,
    }


def figures(**hits):
    ways = {key: row(hits.get(key, 0.4)) for key in tables.WAYS}
    auroc = {"value": 0.05, "low": 0.0, "high": 0.1, "details": {"auroc_synthetic_trained": 0.8}}
    checks = {"frechet": {"value": 3.0, "low": 2.0, "high": 4.0, "details": {}}, "tstr_labels": auroc}
    return {
        "resolution": 64,
        "epsilon": None,
        "delta": None,
        "training_cpu_minutes": 3.0,
        "classes": ["a"],
        "told_apart": [True],
        "ways": ways,
        "accepted_per_second_core": 5.0,
        "same_seed_same_bits": True,
        "blind_guide_leaves_images_unguided": True,
        "curve": [{"steps": 0} | row(0.4)],
        "archive": {"images": 10, "lco": checks, "post_hoc": checks},
    }


def test_steering_that_is_no_better_than_its_baselines_misses_its_goals():
    good = tables.steering_goals("plain", figures(lco=0.8, real=0.75))
    assert all(goal["met"] for goal in good.values())
    poor = tables.steering_goals("plain", figures(lco=0.5, rejection=0.5, real=0.75))
    assert not poor["plain_judge_hits_low_end_above_rejection"]["met"]
    caricatures = tables.steering_goals("plain", figures(lco=1.0, real=0.75))
    assert not caricatures["plain_over_optimisation_above_real"]["met"]
    fooled = tables.steering_goals("plain", figures(lco=0.8, pixels=0.8))
    assert not fooled["plain_pixel_attack_high_end_below_lco"]["met"]


def test_labelling_afterwards_does_not_win_by_never_showing_a_class():
    """Most of its images are of the easy class; the mean over classes tells."""
    found = figures(lco=0.8, post_hoc=0.9)
    found["ways"]["post_hoc"]["judge_hit_class_mean"] = 0.5
    assert tables.steering_goals("plain", found)["plain_judge_hits_low_end_above_post_hoc"]["met"]
    assert "| 0.50 |" in "\n".join(tables.lines("Without privacy", found))


def test_a_private_run_is_judged_beside_what_it_started_from():
    found = figures(lco=0.8, real=0.75)
    found["before"] = dict.fromkeys(before.NAMES, found["archive"]["lco"])
    found["before"]["moments"] = found["archive"]["lco"] | {
        "frechet": {"value": 2.0, "low": 1.0, "high": 3.0, "details": {}}
    }
    goals = private_steps.goals(found)
    assert goals["private_steps_frechet_beside_warm_up"]["met"]
    assert not goals["private_steps_frechet_beside_moments"]["met"]
    page = "\n".join(private_steps.page(found))
    assert all(words in page for words in before.NAMES.values())
    assert "| frechet | 2 [1, 3] | 3 [2, 4] | 3 [2, 4] |" in page
    del found["before"]["warm_up"]  # a run without private steps ends with it
    assert not any("warm_up" in name for name in private.goals(found))
    assert "| frechet | 2 [1, 3] | 3 [2, 4] |" in private.page(found)


def test_the_page_has_a_row_for_every_way():
    page = "\n".join(tables.lines("Without privacy", figures(lco=0.8)))
    assert all(words in page for words in tables.WAYS.values())


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """Two parts that count how often they are measured, one with images."""
    asked = []

    def part(name):
        def measure(*, quick, note):
            asked.append((name, quick))
            drawn = {"sheets": {"normal": torch.zeros(3, 1, 8, 8)}} if name == "plain" else {}
            return {"value": 0.5} | drawn

        return SimpleNamespace(
            measure=measure,
            goals=lambda found: {f"{name}_goal": reference.goal(0.9, found["value"])},
            page=lambda found: [f"## {name}", "", f"{found['value']}"],
        )

    monkeypatch.setattr(reference, "PARTS", ("plain", "throughput"))
    monkeypatch.setattr(reference, "part", part)
    monkeypatch.setattr(reference, "HOME", tmp_path / "reference")
    monkeypatch.setattr(reference, "KEPT", tmp_path / "measured")
    return SimpleNamespace(asked=asked, home=tmp_path / "reference")


def test_the_record_is_written_with_page_and_contact_sheet_and_not_measured_twice(parts, capsys):
    command.main(["--write"])
    command.main(["--write"])
    assert parts.asked == [("plain", False), ("throughput", False)]
    record = json.loads((parts.home / "pggan_lco.json").read_text())
    assert set(record) == {"command", "versions", "hardware", "date", "figures", "goals"}
    assert record["goals"]["plain_goal"]["met"] is False
    assert "**no**" in (parts.home / "pggan_lco.md").read_text()
    assert [path.name for path in parts.home.glob("*.png")] == ["pggan_lco_plain.png"]
    with Image.open(parts.home / "pggan_lco_plain.png") as sheet:
        assert sheet.size == (3 * (8 * 2 + 2), 8 * 2 + 18)
    assert "plain_goal" in capsys.readouterr().out.splitlines()[-1]


def test_a_part_that_was_left_out_is_a_missed_goal(parts):
    command.main(["--write", "--only=throughput"])
    record = json.loads((parts.home / "pggan_lco.json").read_text())
    assert record["goals"]["plain_measured"]["met"] is False
    assert "Not measured in this run: plain." in (parts.home / "pggan_lco.md").read_text()


def test_a_part_that_is_kept_stays_as_it_was_recorded_with_its_day(parts):
    command.main(["--write"])
    path = parts.home / "pggan_lco.json"
    record = json.loads(path.read_text())
    record["date"] = record["figures"]["plain"]["date"] = "2020-01-01"
    path.write_text(json.dumps(record))
    command.main(["--write", "--only=throughput", "--keep", "--fresh"])
    figures = json.loads(path.read_text())["figures"]
    assert list(figures) == ["plain", "throughput"]
    assert (figures["plain"]["date"], figures["plain"]["value"]) == ("2020-01-01", 0.5)
    assert figures["throughput"]["date"] != "2020-01-01"
    assert "Measured on 2020-01-01." in (parts.home / "pggan_lco.md").read_text()
    assert parts.asked == [("plain", False), ("throughput", False), ("throughput", False)]
    assert figures["plain"]["code"] == reference.code_digest("plain")


def test_a_part_that_was_recorded_by_another_code_says_so_and_by_another_policy_is_not_kept(parts, monkeypatch):
    command.main(["--write"])
    path = parts.home / "pggan_lco.json"
    record = json.loads(path.read_text())
    record["figures"]["plain"]["code"] = "0" * 12
    path.write_text(json.dumps(record))
    command.main(["--write", "--only=throughput", "--keep"])
    assert ", by an earlier code." in (parts.home / "pggan_lco.md").read_text()
    monkeypatch.setattr(reference, "policy_digest", lambda name: "another")
    command.main(["--write", "--only=throughput", "--keep"])
    assert list(json.loads(path.read_text())["figures"]) == ["throughput"]


class Painted(nn.Module):
    """The first coordinate is the grey value of the left half, the second that of the right; there is nothing else to paint."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        left, right = (torch.tanh(z[:, i])[:, None, None].expand(-1, 16, 8) for i in range(2))
        return torch.cat([left, right], dim=2)[:, None]


CHECKERS = ((torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1.0)[None]


class Fooled(nn.Module):
    """Sees which half is bright, and a pattern that no painted picture has, much more than that."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = torch.stack([images[:, 0, :, :8].mean(dim=(1, 2)), images[:, 0, :, 8:].mean(dim=(1, 2))], dim=1)
        return 4.0 * bright + 40.0 * torch.stack(
            [(images[:, 0] * CHECKERS).mean(dim=(1, 2))] * 2, dim=1
        ) * torch.tensor([1.0, -1.0])


def bright(images: torch.Tensor) -> torch.Tensor:
    """The judge: the class by the greater of the two medians, which no pattern moves."""
    return torch.stack(
        [images[:, 0, :, :8].flatten(1).median(dim=1).values, images[:, 0, :, 8:].flatten(1).median(dim=1).values]
    ).argmax(dim=0)


def test_the_search_moves_what_the_judge_sees_and_the_attack_on_pixels_only_what_the_guide_sees():
    """T6: above random, above rejection at as many calls, and the control parts guide from judge."""
    spec = SimpleNamespace(target_table=lambda: torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    known = Thresholds(torch.tensor([0.85, 0.85]), torch.tensor([0.15, 0.15]), torch.tensor(-torch.inf))
    made_up = SimpleNamespace(painter=Painted(), guide=Fooled(), critic=Fooled(), thresholds=known, spec=spec)
    made_up.critic.forward = lambda images: images.mean(dim=(1, 2, 3))
    search = LatentClass(steps=40, learning_rate=0.1, restarts=1, jitter=1)
    maker = ways.Maker(made_up, search, 8)
    asked = ways.asked_for(2, 40)

    def judged(made: ways.Made) -> float:
        return float((bright(made.images) == made.asked).float().mean())

    steered, unguided = maker.searched(asked, 1), maker.unguided(asked, 1)
    rejected = maker.rejected(asked, 2, steered.calls)
    attacked = maker.attacked(asked, 3, jitter=0)
    assert judged(steered) > 0.95
    assert judged(unguided) < 0.7
    assert attacked.hits.float().mean() > 0.9
    assert judged(attacked) < 0.8 < judged(steered)
    assert rejected.calls > 0.9 * steered.calls or bool(rejected.accepted.all())
    later = maker.post_hoc(60, 4)
    assert (later.asked[later.accepted] == bright(later.images)[later.accepted]).all()


def test_the_judge_is_taught_by_patients_of_the_holdout_and_tested_on_others():
    patient = np.repeat(np.arange(60), 2)
    store = SimpleNamespace(
        patient=patient,
        labels=patient % 3,
        patients=lambda split: np.arange(0, 60, 2) if split is Split.HOLDOUT else np.arange(1, 60, 2),
        images=lambda rows: patient[rows, None, None, None].astype(np.float32) * np.ones((1, 1, 2, 2), np.float32),
    )
    found = Holdout.of(store)
    taught, tested = (set(side.images[:, 0, 0, 0].int().tolist()) for side in (found.taught, found.tested))
    assert taught
    assert tested
    assert not taught & tested
    assert all(person % 2 == 0 for person in taught | tested)


def test_a_quick_run_is_never_recorded(parts):
    with pytest.raises(SystemExit):
        command.main(["--write", "--quick"])
    assert not parts.home.exists()
