"""The phantom's images, masks and landmarks: the truth that the rest of the tests lean on."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthrelease.cohort.phantom import (
    BOTH,
    FINDINGS,
    SEGMENTS,
    PhantomPatient,
    simulate_patient,
    write_phantom_cohort,
)
from synthrelease.cohort.phantom.anatomy import draw_anatomy
from synthrelease.cohort.phantom.findings import Findings, draw_findings
from synthrelease.cohort.phantom.pose import Pose, draw_exposure, draw_pose
from synthrelease.cohort.phantom.render import draw, expose
from synthrelease.cohort.phantom.vessels import vessel_table

SIZE = 64
LANDMARKS = {
    *("carina", "heart_center", "aortic_knob", "right_apex", "left_apex"),
    *("right_costophrenic", "left_costophrenic", "right_dome", "left_dome"),
}


@pytest.fixture(scope="module")
def cohort() -> list[PhantomPatient]:
    return [simulate_patient(7, index, SIZE) for index in range(60)]


def _lowest_near(mask: NDArray[np.bool_], column: float) -> int:
    columns = np.abs(np.arange(mask.shape[1]) - column) <= 2
    return int(np.flatnonzero(mask[:, columns].any(axis=1))[-1])


def _aligned_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Best correlation of the centres over shifts of up to six pixels."""
    core = slice(12, SIZE - 12)
    best = -1.0
    for down in range(-6, 7, 2):
        for right in range(-6, 7, 2):
            moved = np.roll(b, (down, right), (0, 1))[core, core]
            best = max(best, float(np.corrcoef(a[core, core].ravel(), moved.ravel())[0, 1]))
    return best


def test_equal_seed_and_index_give_equal_bits() -> None:
    first, second = simulate_patient(3, 11, SIZE), simulate_patient(3, 11, SIZE)
    assert (first.sex, first.age_years, first.finding) == (second.sex, second.age_years, second.finding)
    assert len(first.images) == len(second.images)
    for a, b in zip(first.images, second.images, strict=True):
        assert a.pixels.tobytes() == b.pixels.tobytes()
        assert a.landmarks == b.landmarks
        assert all(np.array_equal(a.masks[name], b.masks[name]) for name in SEGMENTS)


def test_another_seed_or_index_gives_another_patient() -> None:
    base = simulate_patient(3, 11, SIZE).images[0].pixels
    for seed, index in ((4, 11), (3, 12), (11, 3)):
        assert np.abs(simulate_patient(seed, index, SIZE).images[0].pixels - base).mean() > 0.02


@pytest.mark.parametrize("size", [32, 50, 128, 200])
def test_images_of_any_size_are_square_float32_between_0_and_1(size: int) -> None:
    image = simulate_patient(1, 2, size).images[0]
    assert image.pixels.shape == (size, size)
    assert image.pixels.dtype == np.float32
    assert image.pixels.min() >= 0
    assert image.pixels.max() <= 1
    assert image.pixels.std() > 0.1
    assert set(image.masks) == set(SEGMENTS)
    assert all(mask.shape == (size, size) and mask.dtype == np.bool_ for mask in image.masks.values())


def test_the_same_patient_is_seen_at_every_size() -> None:
    small, large = simulate_patient(5, 4, 32).images[0], simulate_patient(5, 4, 128).images[0]
    averaged = large.pixels.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.pixels.ravel(), averaged.ravel())[0, 1] > 0.98
    for name in ("right_lung", "left_lung", "heart"):
        assert small.masks[name].mean() == pytest.approx(large.masks[name].mean(), abs=0.02)


@pytest.mark.parametrize(("seed", "index", "size"), [(0, 0, 31), (0, 0, 513), (-1, 0, 64), (0, -1, 64)])
def test_sizes_and_seeds_out_of_range_are_refused(seed: int, index: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"size is|must not be negative"):
        simulate_patient(seed, index, size)


def test_masks_have_sane_areas_and_places(cohort: list[PhantomPatient]) -> None:
    for patient in cohort:
        for image in patient.images:
            masks = image.masks
            right, left, heart = masks["right_lung"], masks["left_lung"], masks["heart"]
            assert 0.02 < right.mean() < 0.35
            assert 0.01 < left.mean() < 0.35
            assert 0.02 < heart.mean() < 0.3
            assert not (right & left).any()
            assert not ((right | left) & (heart | masks["effusion"])).any()
            columns = np.arange(SIZE)
            assert (right.sum(0) @ columns) / right.sum() < (left.sum(0) @ columns) / left.sum()


def test_lungs_are_darker_than_heart_and_abdomen(cohort: list[PhantomPatient]) -> None:
    for patient in cohort:
        for image in patient.images:
            lung = image.pixels[image.masks["right_lung"] | image.masks["left_lung"]].mean()
            assert image.pixels[image.masks["heart"]].mean() > lung + 0.1
            assert image.pixels[-4:, SIZE // 2 - 8 : SIZE // 2 + 8].mean() > lung + 0.1


def test_each_patient_has_exactly_the_masks_of_its_finding(cohort: list[PhantomPatient]) -> None:
    for patient in cohort:
        for image in patient.images:
            assert image.masks["nodule"].any() == (patient.finding == "nodule")
            assert image.masks["effusion"].any() == (patient.finding == "effusion")


def test_landmarks_lie_where_the_masks_say(cohort: list[PhantomPatient]) -> None:
    for patient in cohort:
        for image in patient.images:
            points = image.landmarks
            assert set(points) - {"nodule_center"} == LANDMARKS
            assert ("nodule_center" in points) == (patient.finding == "nodule")
            assert points["right_apex"][1] < points["carina"][1] < points["left_apex"][1]
            assert image.masks["heart"][tuple(round(v) for v in points["heart_center"])]
            for side in ("right", "left"):
                lung = image.masks[f"{side}_lung"]
                top, at = points[f"{side}_apex"]
                first = int(np.flatnonzero(lung.any(axis=1))[0])
                assert max(top, -0.5) == pytest.approx(first, abs=2.0)
                low, column = points[f"{side}_costophrenic"]
                if 2 < column < SIZE - 3 and low < SIZE - 1:
                    filled = lung | image.masks["effusion"] | image.masks["heart"]  # what may cover the angle
                    assert low == pytest.approx(_lowest_near(filled, column), abs=3.0)
                assert abs(at - column) > 2
            if patient.finding == "nodule":
                rows, columns = np.nonzero(image.masks["nodule"])
                assert points["nodule_center"] == pytest.approx((rows.mean(), columns.mean()), abs=1.5)


def test_pose_maps_points_back_to_where_they_came_from() -> None:
    pose = Pose(shift_x=0.05, shift_y=-0.04, turn=0.06, scale=1.1, breath=-0.08, yaw=0.02)
    for x, y in ((0.0, -0.9), (0.5, 0.4), (-0.6, 0.9)):
        u, v = pose.to_detector(x, y)
        back = pose.to_body(np.array([u], np.float32), np.array([v], np.float32))
        assert (back[0][0], back[1][0]) == pytest.approx((x, y), abs=1e-5)


def test_one_patients_images_are_more_alike_than_strangers(cohort: list[PhantomPatient]) -> None:
    pairs = [patient.images[:2] for patient in cohort if len(patient.images) > 1][:14]
    own = [_aligned_correlation(a.pixels, b.pixels) for a, b in pairs]
    strangers = [
        _aligned_correlation(a.pixels, other[1].pixels)
        for (a, _), other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    assert np.median(own) > np.median(strangers) + 0.03
    wins = sum(mine > theirs for mine, theirs in zip(own, strangers, strict=True))
    assert wins >= 11


def test_one_patients_images_are_not_copies(cohort: list[PhantomPatient]) -> None:
    for patient in cohort:
        for a, b in zip(patient.images, patient.images[1:], strict=False):
            assert np.abs(a.pixels - b.pixels).mean() > 0.005


@pytest.mark.parametrize("finding", ["nodule", "effusion"])
def test_a_finding_makes_its_region_denser_and_leaves_the_rest(finding: str) -> None:
    gains, elsewhere = [], []
    for index in range(12):
        rng = np.random.default_rng(index)
        anatomy = draw_anatomy(rng, "F", 50)
        sick = draw_findings(rng, anatomy, finding)
        vessels = vessel_table(rng, anatomy, 128)
        pose, exposure = draw_pose(rng), replace(draw_exposure(rng), dose=1e7)
        with_it, without = (draw(anatomy, found, vessels, pose, 128) for found in (sick, Findings()))
        change = with_it.attenuation - without.attenuation
        region = with_it.masks[finding]
        gains.append(change[region].mean())
        elsewhere.append(np.abs(change[with_it.masks["heart"]]).mean() if finding == "nodule" else 0.0)
        seen = [expose(drawing, exposure, np.random.default_rng(0), 128) for drawing in (with_it, without)]
        assert seen[0][region].mean() > seen[1][region].mean()
    assert min(gains) > 0.1
    assert max(elsewhere) < min(gains)


def test_every_finding_and_every_number_of_images_occurs_at_its_share() -> None:
    people = [simulate_patient(21, index, 32) for index in range(240)]
    findings = Counter(patient.finding for patient in people)
    assert set(findings) == set(FINDINGS)
    assert findings["normal"] / 240 == pytest.approx(0.4, abs=0.1)
    counts = Counter(len(patient.images) for patient in people)
    assert set(counts) == {1, 2, 3, 4}
    assert counts[1] > counts[3] > 0
    assert sum(n * c for n, c in counts.items()) / 240 == pytest.approx(1.98, abs=0.25)
    assert {patient.sex for patient in people} == {"F", "M"}


# --- several findings at once --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both() -> tuple[list[PhantomPatient], list[PhantomPatient]]:
    """The same patients of a cohort with one finding at most, and of one with several."""
    one, several = ([simulate_patient(7, index, 32, several=flag) for index in range(60)] for flag in (False, True))
    return one, several


def test_who_has_one_finding_is_the_same_to_the_bit(both: Any) -> None:
    changed = 0
    for one, several in zip(*both, strict=True):
        if several.finding == BOTH:
            assert one.finding in ("nodule", "effusion")
            changed += 1
            continue
        assert one.finding == several.finding
        for a, b in zip(one.images, several.images, strict=True):
            np.testing.assert_array_equal(a.pixels, b.pixels)
            assert a.landmarks == b.landmarks
    assert 5 <= changed <= 25


def test_who_has_both_shows_both_and_the_nodule_lies_in_air(both: Any) -> None:
    for patient in both[1]:
        for image in patient.images:
            told = {name for name in ("nodule", "effusion") if image.masks[name].any()}
            if patient.finding == BOTH:
                assert "nodule" in told
                assert "nodule_center" in image.landmarks
                shared = image.masks["nodule"] & image.masks["effusion"]
                assert shared.sum() <= 0.2 * image.masks["nodule"].sum()
    with_fluid = [p for p in both[1] if p.finding == BOTH and all(i.masks["effusion"].any() for i in p.images)]
    assert len(with_fluid) >= 0.7 * sum(p.finding == BOTH for p in both[1])


def test_a_cohort_of_several_findings_names_them_and_keeps_the_other_files(tmp_path: Path) -> None:
    for name, several in (("one", False), ("several", True)):
        write_phantom_cohort(tmp_path / name, patients=10, seed=7, size=32, several=several)
    with (tmp_path / "several" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = {row["PatientID"]: (row["label"], row["findings"]) for row in rows}
    assert (BOTH, "nodule|effusion") in told.values()
    assert ("normal", "normal") in told.values()
    for path in (tmp_path / "one").rglob("*.dcm"):
        other = tmp_path / "several" / path.relative_to(tmp_path / "one")
        if told[path.parent.name][0] != BOTH:
            assert path.read_bytes() == other.read_bytes()
