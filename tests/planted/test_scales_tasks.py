"""Distance and variety over scales and tasks on known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.checks.mm_fid import ScalesTasksDistance
from synthrelease.audit.checks.mm_std import ScalesTasksVariety
from synthrelease.audit.scales_tasks import at_scale

FID, STD = ScalesTasksDistance(), ScalesTasksVariety()


@pytest.fixture(scope="module", autouse=True)
def few_images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthrelease.audit.task_cells.MOST", 100)
        patch.setattr("synthrelease.audit.task_cells.STEPS", 60)
        patch.setattr("synthrelease.audit.checks.mm_fid.TIMES", 5)
        patch.setattr("synthrelease.audit.checks.mm_std.TIMES", 5)
        yield


@pytest.fixture(scope="module")
def people(make_world):
    """A world of other patients; its cells are computed once."""
    return make_world(5, train=160, holdout=150, synthetic=160)


def seen(check, case, seed=0):
    return check.measure(case, np.random.default_rng(seed))


def restyled(case, images):
    return replace(case, synthetic=replace(case.synthetic, images=images.astype(np.float32)))


def test_other_patients_are_as_near_and_as_varied_as_training_patients(people):
    near, varied = seen(FID, people), seen(STD, people)
    assert near.statistic.value < 1.5 * near.baseline.holdout + 0.2
    assert near.statistic.low <= near.statistic.value <= near.statistic.high
    assert varied.statistic.value > 0.8
    assert varied.baseline.holdout > 0.8


def test_every_cell_is_told_raw_with_real_against_real_beside(people):
    details = seen(FID, people).details
    assert {"radiomics", "phantom_network", "uld", "trained on classes"} <= set(details["tasks"])
    shape = (len(details["tasks"]), len(details["scales"]))
    for name in ("synthetic", "training", "real"):
        cells = np.array(details["cells"][name])
        assert cells.shape == shape
        assert (cells > 0).all()
    assert set(details["normalised_across"]) == {"synthetic", "training", "real"}


@pytest.mark.parametrize("check", [FID, STD])
def test_every_cell_carries_an_interval(people, check):
    details = seen(check, people).details
    for name in ("synthetic", "training", "real"):
        low, middle, high = (np.array(details[f"cells{end}"][name]) for end in ("_low", "", "_high"))
        assert low.shape == middle.shape == high.shape
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert (low < high).all()


def test_blur_is_far_at_full_detail_and_nearer_where_nobody_looks_closely(people):
    blurred = restyled(people, at_scale(people.synthetic.images, 4))
    near, far = seen(FID, people), seen(FID, blurred)
    assert far.statistic.value > 1.5 * near.statistic.value
    ratios = np.array(far.details["cells"]["synthetic"]) / np.array(near.details["cells"]["synthetic"])
    assert np.median(ratios[:, 0]) > 2 * np.median(ratios[:, -1])


def test_noise_and_one_picture_for_all_are_far_and_vary_unlike_real_images(people):
    rng = np.random.default_rng(1)
    images = people.synthetic.images
    noise = restyled(people, rng.normal(0, 0.5, images.shape).clip(-1, 1))
    one = restyled(people, images[:1] + rng.normal(0, 0.01, images.shape))
    for case in (noise, one):
        assert seen(FID, case).statistic.value > 5
        assert seen(STD, case).statistic.value < 0.7


def test_the_same_draw_gives_the_same_numbers(people):
    assert seen(FID, people, 3).statistic == seen(FID, people, 3).statistic


def test_a_network_of_labels_is_taught_by_people_who_are_in_no_cell(people):
    cells = people.fidelity.cells
    assert "trained on classes" in cells.tasks
    in_cells = set(cells.raw[cells.tasks[0], 1].holdout_patient.tolist())
    assert 0 < len(in_cells) < people.holdout.patient_count


def test_attributes_that_are_told_become_tasks_and_a_missing_package_is_named(make_world):
    case = make_world(6, train=80, holdout=150, synthetic=80)
    sex = np.where(case.holdout.patient % 2, "F", "M")
    told = replace(case, holdout=replace(case.holdout, attributes={"sex": sex}))
    cells = told.fidelity.cells
    assert "trained on sex" in cells.tasks
    assert set(cells.left_out) <= {"efficientnet_lite0"}


def test_without_a_holdout_nothing_is_measured(people):
    for check in (FID, STD):
        assert "no holdout" in seen(check, replace(people, holdout=None)).unable
        few = replace(people, synthetic=people.synthetic.take(np.arange(10)))
        assert "10 synthetic images" in seen(check, few).unable
