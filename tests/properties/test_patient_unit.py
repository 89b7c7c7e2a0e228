"""The unit is the patient: five images of one person move a sum by at most C, however alike they are.

Each test also computes what a claim by image would have let through, so that it is seen to be able to fail.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthrelease.privacy.clipping import clipped_gradient_sum
from synthrelease.privacy.mechanism import clip_rows
from tests.properties.replay_run import DIFFUSION, largest
from tests.properties.replay_tape import FLOAT_ERROR, Tape
from tests.properties.test_neighbours import CLIP, Inputs, drawn, network, squared
from tests.properties.test_replay_past_the_reader import STRANGER, Ward, trained_on, ward

IMAGES = 5


def alike(patients: int) -> Inputs:
    """Patients whose five images differ a little, as those of one person do."""
    first, rest = drawn("first", patients, 1), drawn("rest", patients, IMAGES)
    return {
        "images": first["images"] + 0.05 * rest["images"],
        "labels": first["labels"].expand(-1, IMAGES).contiguous(),
        "target": 5.0 + 0.1 * rest["target"],
    }


def by_image(inputs: Inputs) -> Inputs:
    """Every image a patient of its own."""
    return {name: value.flatten(0, 1)[:, None] for name, value in inputs.items()}


def moved(inputs: Inputs, units: int, backend: str) -> float:
    """How far the clipped sum moves when the first units are removed, over C."""

    def total(part: Inputs) -> np.ndarray:
        blocks = ({n: v[i : i + 4] for n, v in part.items()} for i in range(0, len(part["target"]), 4))
        return clipped_gradient_sum(network(), squared, blocks, CLIP, block=4, backend=backend)[0].total  # type: ignore[arg-type]

    return float(np.linalg.norm(total(inputs) - total({n: v[units:] for n, v in inputs.items()}))) / CLIP


@pytest.mark.parametrize("backend", ["fast", "vmap", "opacus"])
def test_five_images_of_a_patient_move_the_gradient_sum_by_one_clip_norm_and_by_image_by_five(backend: str) -> None:
    inputs = alike(6)
    assert moved(inputs, 1, backend) <= 1 + FLOAT_ERROR
    assert moved(by_image(inputs), IMAGES, backend) > 4


def five_images() -> Ward:
    """A ward in which the stranger has five images, all nearly the same."""
    out = ward(4, images=IMAGES)
    own = out.owner == 4
    noise = np.random.default_rng(0).normal(0, 0.01, out.pixels[own].shape)
    out.pixels[own] = (3 * out.pixels[own][:1] + noise).astype(np.float32)
    out.planes[own] = out.planes[own][:1]
    return out


def one_patient_an_image(whole: Ward) -> tuple[Ward, list[str]]:
    """The same images when each is taken for a patient; and which of them are the stranger's."""
    people = [f"picture {row}" for row in range(len(whole.owner))]
    strangers = [people[row] for row in whole.rows_of(whole.people.index(STRANGER))]
    return Ward(people, np.arange(len(people)), whole.labels, whole.has_mask, whole.pixels, whole.planes), strangers


def test_the_same_holds_in_training_and_by_image_it_would_not(tmp_path: Path) -> None:
    whole = five_images()
    without, tape = trained_on(whole.without(STRANGER), DIFFUSION, tmp_path / "without", Tape())
    told, _ = trained_on(whole, DIFFUSION, tmp_path / "with", tape)
    assert largest(told.calls, without.calls) <= 1 + FLOAT_ERROR

    images, strangers = one_patient_an_image(whole)
    fewer = images
    for name in strangers:
        fewer = fewer.without(name)
    without, tape = trained_on(fewer, DIFFUSION, tmp_path / "without by image", Tape())
    told, _ = trained_on(images, DIFFUSION, tmp_path / "with by image", tape)
    steps = [number for number, name in enumerate(told.names) if name.startswith("gradient_steps")]
    assert largest(told.calls[:3], without.calls[:3]) > 4
    assert max(largest([told.calls[n]], [without.calls[n]]) for n in steps) > 1.5


def test_a_patient_vector_is_clipped_once_and_not_once_an_image() -> None:
    images = np.tile([3.0, 4.0], (IMAGES, 1))
    assert np.linalg.norm(clip_rows(images.mean(axis=0, keepdims=True), 1.0).total) == pytest.approx(1.0)
    assert np.linalg.norm(clip_rows(images, 1.0).total) == pytest.approx(IMAGES)
