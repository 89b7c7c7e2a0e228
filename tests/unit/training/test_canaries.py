"""Canary patients go the way of all patients, and push on nothing but their own coordinate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs_archive import Archive, policy

from synthrelease.generators.protocol import Batch, Player, Spec
from synthrelease.generators.registry import build
from synthrelease.privacy.clipping import Backend, clipped_gradient_sum
from synthrelease.privacy.isolation import assert_patients_isolated
from synthrelease.training.canaries import IMAGES_EACH, Planted, WithCanaries, coordinates, with_probe
from synthrelease.training.canary_images import KINDS, strange_pictures
from synthrelease.training.canary_phantoms import PhantomStore
from synthrelease.training.loop import no_images
from synthrelease.training.patients import TrainingPatients
from synthrelease.training.planning import spec_of

RULES = policy("diffusion", "private")
SPEC = spec_of(RULES)
CANARIES = 6


def denoiser() -> Player:
    """The network of the discs."""
    return build(RULES.generator, SPEC).players()[0]


def batch(labels: list[int]) -> Batch:
    """Random pictures with these labels."""
    rng = torch.Generator().manual_seed(3)
    blank = replace(no_images(SPEC, len(labels), rng), labels=torch.tensor(labels))
    return replace(blank, images=torch.randn(blank.images.shape, generator=rng))


def store(labels: list[int]) -> tuple[Archive, WithCanaries]:
    """Discs with canaries of these labels."""
    discs = Archive(patients=4)
    planted = Planted(np.array(labels, dtype=np.int64))
    return discs, WithCanaries(discs, discs.patients, planted, (1, 16, 16))


def test_canaries_are_patients_after_the_others_with_five_blank_images_each() -> None:
    _, mixed = store([2, 7])
    assert mixed.patients.tolist() == [0, 1, 2, 3, 4, 5]
    assert mixed.rows_of(5).tolist() == [13, 14, 15, 16, 17]
    assert mixed.labels[mixed.rows_of(5)].tolist() == [7] * IMAGES_EACH
    assert not mixed.images(mixed.rows_of(4)).any()
    assert mixed.masks(mixed.rows_of(4)).shape == (IMAGES_EACH, 1, 16, 16)
    patients = TrainingPatients(mixed, mixed.patients, segments=1)
    assert [len(patients.rows(p)) for p in range(len(patients))] == [2] * 4 + [IMAGES_EACH] * 2


def test_the_others_keep_their_images_masks_and_labels() -> None:
    discs, mixed = store([2])
    rows = np.array([8, 3, 10, 0])
    assert np.array_equal(mixed.images(rows)[[1, 3]], discs.images(rows[[1, 3]]))
    assert np.array_equal(mixed.masks(rows)[[1, 3]], discs.masks(rows[[1, 3]]))
    assert np.array_equal(mixed.labels[:8], discs.labels)


def test_a_canary_with_a_picture_shows_it_in_every_image() -> None:
    discs = Archive(patients=2)
    pictures = strange_pictures(3, 16)
    mixed = WithCanaries(discs, discs.patients, Planted(np.zeros(3, dtype=np.int64), pictures), (1, 16, 16))
    assert np.array_equal(mixed.images(mixed.rows_of(3)), np.repeat(pictures[1:2], IMAGES_EACH, axis=0))


def test_no_canary_at_all_is_the_store_itself() -> None:
    discs, mixed = store([])
    assert mixed.patients.tolist() == discs.patients.tolist()
    assert np.array_equal(mixed.images(np.arange(8)), discs.images(np.arange(8)))


def test_the_loss_of_an_ordinary_row_is_the_players_own() -> None:
    plain, probed = denoiser(), with_probe(denoiser(), SPEC.classes, CANARIES, 1.0)
    ordinary, mixed = batch([0, 1, 0]), batch([0, 1, SPEC.classes + 2])
    mixed = replace(mixed, images=ordinary.images)
    rng = torch.Generator()
    expected = plain.loss(plain.module, plain.draw(ordinary, rng.manual_seed(1)))
    found = probed.loss(probed.module, probed.draw(mixed, rng.manual_seed(1)))
    assert torch.equal(found[:2], expected[:2])


@pytest.mark.parametrize("backend", ["fast", "vmap", "opacus"])
def test_a_canary_adds_the_clip_norm_to_its_own_coordinate_and_nothing_elsewhere(backend: Backend) -> None:
    clip_norm = 0.7
    probed = with_probe(denoiser(), SPEC.classes, CANARIES, clip_norm)
    inputs = probed.draw(batch([0, 0, SPEC.classes + 2, SPEC.classes + 2, 1, 1]), torch.Generator().manual_seed(1))
    patients = {name: value.reshape(3, 2, *value.shape[1:]) for name, value in inputs.items()}
    without = {name: value[[0, 2]] for name, value in patients.items()}
    sums = [
        clipped_gradient_sum(probed.module, probed.loss, [block], clip_norm, block=3, backend=backend)[0].total
        for block in (patients, without)
    ]
    start = sum(p.numel() for name, p in probed.module.named_parameters() if name.startswith("base"))
    expected = np.zeros_like(sums[0])
    expected[start + 2] = clip_norm
    np.testing.assert_allclose(sums[0] - sums[1], expected, atol=1e-6)


def test_a_probed_player_is_no_mix_of_patients() -> None:
    probed = with_probe(denoiser(), SPEC.classes, CANARIES, 1.0)
    inputs = probed.draw(batch([0, SPEC.classes, 1, SPEC.classes + 5]), torch.Generator().manual_seed(1))
    assert_patients_isolated(probed.module, probed.loss, inputs)


def test_coordinates_are_read_from_the_gradient_without_the_one_of_everybody_else() -> None:
    probed = with_probe(denoiser(), SPEC.classes, CANARIES, 1.0)
    with pytest.raises(ValueError, match="no gradient"):
        coordinates(probed, CANARIES)
    probed.module.get_submodule("probe").weight.grad = torch.arange(CANARIES + 1.0)[:, None]
    assert coordinates(probed, CANARIES).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("spec", [Spec(16, 2, 1), Spec(28, 1, 0), Spec(32, 7, 6)], ids=str)
def test_phantoms_take_the_shapes_that_a_policy_asks_for(spec: Spec) -> None:
    phantoms = PhantomStore(spec, 5, 7)
    rows = np.arange(len(phantoms.labels))
    assert phantoms.images(rows).shape == (len(rows), 1, spec.resolution, spec.resolution)
    assert phantoms.masks(rows).shape == (len(rows), spec.segments, spec.resolution, spec.resolution)
    assert -1 <= phantoms.images(rows).min() < phantoms.images(rows).max() <= 1
    assert phantoms.masks(rows).min(initial=0) >= 0
    assert phantoms.masks(rows).max(initial=0) <= 1
    assert set(phantoms.labels) <= set(range(spec.classes))
    assert sorted(row for p in phantoms.patients for row in phantoms.rows_of(int(p))) == rows.tolist()


def test_strange_pictures_are_of_three_kinds_and_all_different() -> None:
    pictures = strange_pictures(12, 16)[:, 0]
    assert [len(np.unique(p)) for p in pictures[:6]] == [1, 2, 2, 1, 2, 2]
    assert len({p.tobytes() for p in pictures}) == 12
    assert np.abs(pictures).max() <= 1
    assert np.array_equal(pictures, strange_pictures(12, 16)[:, 0])
    assert len(KINDS) == 3
