"""The generator that paints after maps, as the training loop, the privacy checks and the sampler see it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from um_discs import SMALL, discs, rng, settings

from synthrelease.errors import IntegrityError, UnsuitableData
from synthrelease.generators.protocol import Batch, Calibrated, Player, Spec
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.settings import on_real_images
from synthrelease.privacy.clipping import patient_gradients
from synthrelease.training.backends import TRIAL_ROWS, backend_for
from synthrelease.training.loop import Stepper, no_images, plain_gradient, step_together

SOURCES = ("generated", "procedural", "public", "real")
LESSONS = 60


def player(generator: UmGenerator, name: str) -> Player:
    return next(player for player in generator.players() if player.name == name)


@pytest.fixture(scope="module")
def taught() -> tuple[UmGenerator, Batch]:
    """Trained on 64 discs of which eight have masks; and those discs with all masks.

    Pseudo-masks weigh as much as known ones, on every pixel: were they wrong, masks could not be learned beside them.
    """
    known = torch.arange(64) < 8
    pool, full = discs(64, rng(5), known), discs(64, rng(5))
    generator = UmGenerator(SMALL, settings(pseudo_weight=2.0, trusted_from=0.0))
    steppers = [Stepper(each, learning_rate=3e-3, decay=0.9) for each in generator.players()]

    def some(step: int, random: torch.Generator) -> Batch:
        rows = torch.randint(64, (8,), generator=random)
        return Batch(pool.images[rows], pool.masks[rows], pool.labels[rows], labelled=known[rows])

    gradient = plain_gradient(some, 0, "steps")
    for step in range(LESSONS):
        generator.grow(step / LESSONS)
        for stepper in steppers:
            step_together((stepper,), gradient, step)
    for stepper in steppers:
        stepper.take_average()
    return generator, full


def dice(found: Tensor, truth: Tensor) -> float:
    found, truth = found > 0.5, truth >= 0.5
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@pytest.mark.parametrize("source", SOURCES)
def test_players_that_see_real_images_are_those_that_a_plan_pays_for(source: str) -> None:
    chosen = settings(guidance=source)
    players = UmGenerator(SMALL, chosen).players()
    assert [each.name for each in players] == ["critics", "painter", *(["mapper"] if source == "generated" else [])]
    assert tuple(each.name for each in players if each.sees_real) == on_real_images(chosen)


@pytest.mark.parametrize("spec", [SMALL, Spec(28, 1, 0)])
def test_under_privacy_every_player_reads_each_row_by_itself_and_takes_the_fast_way(spec: Spec) -> None:
    for each in UmGenerator(spec, settings()).players():
        if each.sees_real:
            inputs = each.draw(no_images(spec, TRIAL_ROWS, rng()), rng())
            assert backend_for(each, inputs, "fast") == ("fast", None), each.name


@pytest.mark.parametrize("name", ["critics", "painter"])
def test_a_patients_gradient_stays_when_all_others_change(name: str) -> None:
    """With what is drawn: maps, pseudo-masks and trust are of one record. Dice of a batch would fail here."""
    each = player(UmGenerator(SMALL, settings()), name)
    known = torch.tensor([True, False, True, False])
    one, other = discs(4, rng(), known), discs(4, rng(9), known)
    mixed = Batch(
        torch.cat([one.images[:2], other.images[2:]]),
        torch.cat([one.masks[:2], other.masks[2:]]),
        torch.cat([one.labels[:2], other.labels[2:]]),
        labelled=known,
    )
    gradients = []
    for batch in (one, mixed):
        rows = {key: value.reshape(2, 2, *value.shape[1:]) for key, value in each.draw(batch, rng(1)).items()}
        gradients.append(patient_gradients(each.module, each.loss, rows)[0])
    torch.testing.assert_close(gradients[0][0], gradients[1][0], atol=1e-6, rtol=1e-4)
    assert (gradients[0][1] - gradients[1][1]).norm() > 1e-4


def test_few_masks_teach_to_draw_all(taught: tuple[UmGenerator, Batch]) -> None:
    generator, full = taught
    done = generator.painted(generator.guidance.of(full.images), full.labels)
    assert dice(done.masks[8:], full.masks[8:]) > 0.75
    share = float((done.masks > 0.5).float().mean() / full.masks.mean())
    assert 0.7 < share < 1.3  # pseudo-masks that are emptied would empty what is drawn
    assert (done.images - full.images).abs().mean() < 0.2


def test_half_of_the_lessons_move_image_and_mask_together_and_the_map_is_of_what_was_moved() -> None:
    generator = UmGenerator(SMALL, settings(transforms=("shift", "rotate")))
    batch = discs(60, rng())
    told = player(generator, "painter").draw(batch, rng())
    moved = (told["image"] - batch.images).abs().mean(dim=(1, 2, 3)) > 0.02
    assert 15 <= int(moved.sum()) <= 45
    assert torch.equal(told["image"][~moved], batch.images[~moved])
    assert torch.equal(told["wanted"][~moved], batch.masks[~moved])
    assert not torch.isclose(told["wanted"], batch.masks).flatten(1).all(dim=1)[moved].any()
    # A disc is brighter than what is about it: where it went, its mask went.
    inside = told["wanted"] > 0.9
    assert told["image"][inside].mean() > told["image"][~inside].mean() + 0.3
    torch.testing.assert_close(told["guided"][:, :1], generator.guidance.of(told["image"]))
    real = player(generator, "critics").draw(batch, rng())
    torch.testing.assert_close(real["real"], batch.images)


def test_images_without_masks_do_not_teach_that_there_is_nothing() -> None:
    generator = UmGenerator(SMALL, settings(transforms=()))
    batch = discs(6, rng(), torch.tensor([True, False] * 3))
    told = player(generator, "painter").draw(batch, rng())
    painted = generator.painter(told["guided"], batch.labels)
    torch.testing.assert_close(told["wanted"][1::2], (painted[1::2, 1:] > 0).float())
    torch.testing.assert_close(told["wanted"][::2], batch.masks[::2])
    assert told["weights"].tolist() == pytest.approx([2.0, 0.1] * 3)
    assert (told["pixels"][::2] == 1).all()


def test_pseudo_masks_begin_to_count_when_something_was_learned() -> None:
    generator = UmGenerator(SMALL, settings())
    batch = discs(2, rng(), torch.tensor([True, False]))
    weights = []
    for share in (0.0, 0.4, 1.0):
        assert generator.grow(share) is False
        weights.append(player(generator, "painter").draw(batch, rng())["weights"].tolist())
    assert weights == [pytest.approx([2.0, 0.0]), pytest.approx([2.0, 0.05]), pytest.approx([2.0, 0.1])]


def test_pseudo_masks_weigh_nothing_where_the_critic_trusts_nothing() -> None:
    generator = UmGenerator(SMALL, settings(trusted_from=1.0))
    batch = discs(4, rng(), torch.zeros(4, dtype=torch.bool))
    each = player(generator, "painter")
    told = each.draw(batch, rng())
    assert not told["pixels"].any()
    other = {**told, "wanted": 1.0 - told["wanted"]}
    torch.testing.assert_close(each.loss(each.module, told), each.loss(each.module, other))


def test_the_critic_never_sees_a_mask() -> None:
    critics = player(UmGenerator(SMALL, settings()), "critics")
    batch = discs(4, rng())
    blank = Batch(batch.images, torch.zeros_like(batch.masks), batch.labels)
    one, other = (critics.loss(critics.module, critics.draw(each, rng())) for each in (batch, blank))
    assert torch.equal(one, other)


@pytest.mark.parametrize("source", SOURCES)
def test_sampling_is_bit_equal_and_survives_being_kept(source: str) -> None:
    generator = UmGenerator(SMALL, settings(guidance=source))
    if source in ("public", "real"):
        generator.give_maps(discs(6, rng(3)).images, None if source == "public" else torch.tensor([0, 1] * 3))
    labels = torch.tensor([0, 1, 1])
    made = generator.sample(labels, rng())
    again = UmGenerator.from_state(SMALL, settings(guidance=source), generator.state()).sample(labels, rng())
    for one, other in ((made.images, again.images), (made.masks, again.masks), (made.labels, again.labels)):
        assert torch.equal(one, other)
    assert made.images.shape == made.masks.shape == (3, 1, 16, 16)
    assert made.masks.min() >= 0
    assert made.masks.max() <= 1


def test_a_generator_of_maps_keeps_no_map_of_a_real_image(taught: tuple[UmGenerator, Batch]) -> None:
    generator, _ = taught
    assert generator.state()["maps"].shape[0] == 0
    assert not isinstance(generator, Calibrated)


def test_generated_maps_are_in_the_alphabet_that_the_painter_knows() -> None:
    generator = UmGenerator(SMALL, settings())
    maps = generator.sample_maps(torch.tensor([0, 1] * 4), rng())
    torch.testing.assert_close(generator.guidance.quantised(maps), maps)
    assert torch.equal(maps, generator.sample_maps(torch.tensor([0, 1] * 4), rng()))


def test_the_mapper_learns_what_maps_look_like(taught: tuple[UmGenerator, Batch]) -> None:
    before = UmGenerator(SMALL, settings())
    after, full = taught
    labels = torch.tensor([0, 1] * 16)
    real = after.guidance.of(full.images).mean(dim=0)

    def apart(generator: UmGenerator) -> float:
        return float((generator.sample_maps(labels, rng()).mean(dim=0) - real).abs().mean())

    assert apart(after) < 0.7 * apart(before)


def test_real_maps_come_from_patients_set_apart_and_from_their_class() -> None:
    generator = UmGenerator(SMALL, settings(guidance="real"))
    assert isinstance(generator, Calibrated)
    donors = discs(8, rng(4))
    generator.calibrate([donors])
    maps = generator.sample_maps(donors.labels[donors.labels == 1], rng())
    own = generator.guidance.of(donors.images[donors.labels == 1])
    assert all(any(torch.equal(one, each) for each in own) for one in maps)


def test_a_class_without_a_map_cannot_be_sampled() -> None:
    generator = UmGenerator(SMALL, settings(guidance="real"))
    generator.give_maps(discs(4, rng()).images, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(UnsuitableData, match="no map was given for class 1"):
        generator.sample(torch.tensor([1]), rng())


def test_public_images_of_another_size_are_resized() -> None:
    generator = UmGenerator(SMALL, settings(guidance="public"))
    generator.give_maps(torch.rand(3, 1, 64, 64, generator=rng()))
    assert generator.maps.shape == (3, 1, 16, 16)


def test_weights_of_another_policy_are_refused() -> None:
    state = UmGenerator(SMALL, settings()).state()
    with pytest.raises(IntegrityError, match="do not fit"):
        UmGenerator.from_state(SMALL, settings(width=16), state)
    with pytest.raises(IntegrityError, match="do not fit"):
        UmGenerator.from_state(SMALL, settings(), {k: v for k, v in state.items() if k != "maps"})


@pytest.mark.parametrize(
    "changed",
    [
        {"maps": torch.zeros(3, 1, 32, 32)},
        {"maps": torch.zeros(3, 16, 16)},
        {"maps": torch.zeros(3, 2, 16, 16)},
        {"maps": torch.zeros(3, 1, 16, 16)[0, 0, 0, 0]},
        {"map_labels": torch.zeros(2, dtype=torch.int64)},
    ],
)
def test_maps_of_another_shape_or_without_a_class_each_are_refused(changed: dict[str, Tensor]) -> None:
    generator = UmGenerator(SMALL, settings(guidance="public"))
    generator.give_maps(discs(3, rng()).images)
    with pytest.raises(IntegrityError, match="the shape of the maps"):
        UmGenerator.from_state(SMALL, settings(guidance="public"), generator.state() | changed)


def test_untrained_weights_are_those_of_the_seed_whatever_was_drawn_before() -> None:
    one = UmGenerator(SMALL, settings()).state()
    torch.rand(3)
    other = UmGenerator(SMALL, settings()).state()
    assert all(torch.equal(one[name], other[name]) for name in one)
