"""The progressive GAN as the training loop and the sampler see it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from synthrelease.errors import IntegrityError, PolicyError
from synthrelease.generators.pggan.growth import Stage
from synthrelease.generators.pggan.model import PgganGenerator, guide_notes, on_real_images, pictures
from synthrelease.generators.protocol import Batch, Calibrated, Growing, Player, Spec
from synthrelease.generators.registry import build
from synthrelease.policy.generators import PgganGenerator as Settings
from synthrelease.policy.loader import load_policy
from synthrelease.privacy.clipping import patient_gradients
from synthrelease.privacy.isolation import assert_patients_isolated
from synthrelease.training.backends import backend_for
from synthrelease.training.loop import Stepper, no_images, plain_gradient, step_together
from synthrelease.training.planning import spec_of

SMALL = Spec(resolution=16, classes=3, segments=1)
LCO = {"steps": 3, "restarts": 1, "jitter": 1}


def settings(**changes: Any) -> Settings:
    return Settings(**{"name": "pggan", "width": 8, "latent": 8, "batch": 8, "lco": LCO, **changes})


def batch(size: int = 8, seed: int = 0, spec: Spec = SMALL) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    shape = (size, spec.segments, spec.resolution, spec.resolution)
    return Batch(
        images=torch.rand(size, 1, *shape[2:], generator=rng) * 2 - 1,
        masks=torch.rand(shape, generator=rng),
        labels=torch.randint(spec.classes, (size,), generator=rng),
    )


def player(generator: PgganGenerator, name: str) -> Player:
    return next(player for player in generator.players() if player.name == name)


def inputs_of(player: Player, given: Batch) -> dict[str, torch.Tensor]:
    return player.draw(given, torch.Generator().manual_seed(1))


def bright(size: int, value: float) -> Batch:
    """Pictures of one grey value, with the left half as the mask."""
    masks = torch.zeros(size, 1, 16, 16)
    masks[..., :8] = 1.0
    return Batch(torch.full((size, 1, 16, 16), value), masks, torch.zeros(size, dtype=torch.int64))


def trained(steps: int, **changes: Any) -> PgganGenerator:
    """Some steps on plain pictures, growing meanwhile."""
    generator = PgganGenerator(SMALL, settings(**changes))
    steppers = [Stepper(player, learning_rate=5e-3, decay=0.9) for player in generator.players()]
    gradient = plain_gradient(lambda step, rng: bright(8, 0.8), 0, "steps")
    for step in range(steps):
        if generator.grow(step / steps):
            for stepper in steppers:
                stepper.begin_anew()
        for stepper in steppers:
            step_together((stepper,), gradient, step)
    generator.grow(1.0)
    for stepper in steppers:
        stepper.take_average()
    return generator


def test_it_grows_and_is_calibrated() -> None:
    generator = PgganGenerator(SMALL, settings())
    assert isinstance(generator, Growing)
    assert isinstance(generator, Calibrated)


@pytest.mark.parametrize(
    ("guide", "names", "real"),
    [
        ("trained", ["critic", "guide", "generator"], ("critic", "guide")),
        ("moments", ["critic", "generator"], ("critic",)),
        ("runs/phantom", ["critic", "generator"], ("critic",)),
    ],
)
def test_players_that_see_real_images_are_those_that_a_plan_pays_for(
    guide: str, names: list[str], real: tuple[str, ...]
) -> None:
    chosen = settings(guide=guide)
    players = PgganGenerator(SMALL, chosen).players()
    assert [player.name for player in players] == names
    assert tuple(player.name for player in players if player.sees_real) == real == on_real_images(chosen)


def test_the_generator_is_stepped_once_for_many_steps_of_the_critic() -> None:
    generator = PgganGenerator(SMALL, settings(critic_steps=5))
    assert {player.name: player.every for player in generator.players()} == {"critic": 1, "guide": 1, "generator": 5}


def test_growing_goes_through_every_scale_and_tells_of_changes() -> None:
    generator = PgganGenerator(SMALL, settings())
    seen = []
    for step in range(70):
        changed = generator.grow(step / 70)
        stage = generator.painter.stage
        assert stage == generator.critic.stage
        if changed:
            seen.append((stage.level, stage.blend < 1.0))
    assert seen == [(0, False), (1, True), (1, False), (2, True), (2, False)]
    assert not generator.grow(1.0)


def test_real_pictures_reach_the_critic_at_the_size_of_the_stage() -> None:
    generator, critic = PgganGenerator(SMALL, settings()), None
    critic = player(generator, "critic")
    generator.grow(0.0)
    small = inputs_of(critic, batch())["real"]
    assert small.shape == (8, 2, 4, 4)
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(pictures(batch()), 4))


@pytest.mark.parametrize("loss", ["softplus", "wgan_gp"])
@pytest.mark.parametrize("penalty_weight", [0.0, 1.0])
def test_without_a_batch_statistic_the_critic_reads_each_row_by_itself(loss: str, penalty_weight: float) -> None:
    chosen = settings(loss=loss, penalty_weight=penalty_weight, minibatch_stddev=False)
    critic = player(PgganGenerator(SMALL, chosen), "critic")
    rng = torch.Generator().manual_seed(0)
    assert_patients_isolated(critic.module, critic.loss, critic.draw(no_images(SMALL, 6, rng), rng))


def test_the_batch_statistic_is_refused_for_private_training() -> None:
    critic = player(PgganGenerator(SMALL, settings(minibatch_stddev=True, penalty_weight=0.0)), "critic")
    rng = torch.Generator().manual_seed(0)
    with pytest.raises(PolicyError, match="cannot be trained privately"):
        assert_patients_isolated(critic.module, critic.loss, critic.draw(no_images(SMALL, 6, rng), rng))


@pytest.mark.parametrize("penalty_weight", [0.0, 1.0])
def test_a_critic_that_may_be_private_takes_the_fast_way(penalty_weight: float) -> None:
    critic = player(PgganGenerator(SMALL, settings(minibatch_stddev=False, penalty_weight=penalty_weight)), "critic")
    rng = torch.Generator().manual_seed(0)
    assert backend_for(critic, critic.draw(no_images(SMALL, 6, rng), rng), "fast") == ("fast", None)


def test_the_gradient_penalty_lies_inside_the_loss_of_each_patient() -> None:
    chosen = settings(loss="wgan_gp", minibatch_stddev=False)
    critic = player(PgganGenerator(SMALL, chosen), "critic")
    rows = inputs_of(critic, batch(4))
    by_patient = {name: value.reshape(2, 2, *value.shape[1:]) for name, value in rows.items()}
    together, _ = patient_gradients(critic.module, critic.loss, by_patient)
    free = player(PgganGenerator(SMALL, chosen.model_copy(update={"penalty_weight": 0.0})), "critic")
    without, _ = patient_gradients(free.module, free.loss, {"real": by_patient["real"]})
    assert (together - without).norm(dim=1).min() > 1e-4


def test_without_a_batch_statistic_slopes_are_held_down_at_generated_pictures_alone() -> None:
    on_real, on_generated = [], []
    for weight in (0.0, 5.0):
        critic = player(PgganGenerator(SMALL, settings(minibatch_stddev=False, penalty_weight=weight)), "critic")
        on_real.append(critic.loss(critic.module, inputs_of(critic, batch())))
        assert critic.generated is not None
        on_generated.append(critic.generated(torch.Generator().manual_seed(0)))
    torch.testing.assert_close(on_real[0], on_real[1])
    assert on_generated[1] > on_generated[0]


def test_a_plain_penalty_weighs_the_same_on_a_part_of_the_batch() -> None:
    with_spread = player(PgganGenerator(SMALL, settings(minibatch_stddev=True)), "critic")
    with_spread.module.eval()  # the statistic stands still, so that both critics are alike row by row
    rows = inputs_of(with_spread, bright(16, 0.4))
    free = player(PgganGenerator(SMALL, settings(minibatch_stddev=True, penalty_weight=0.0)), "critic")
    free.module.eval()
    penalty = with_spread.loss(with_spread.module, rows) - free.loss(free.module, rows)
    assert (penalty[2:] == 0).all()
    one = with_spread.loss(with_spread.module, {"real": rows["real"][:1]}) - free.loss(
        free.module, {"real": rows["real"][:1]}
    )
    torch.testing.assert_close(penalty.mean(), one[0])


def test_the_generators_loss_leaves_no_gradient_in_the_critic() -> None:
    generator = PgganGenerator(SMALL, settings())
    makes = player(generator, "generator")
    makes.loss(makes.module, inputs_of(makes, batch())).mean().backward()
    assert all(p.grad is None for p in generator.critic.parameters())
    assert any(p.grad is not None for p in generator.painter.parameters())


def test_what_the_critic_learns_from_generated_pictures_reaches_the_critic_alone() -> None:
    generator = PgganGenerator(SMALL, settings())
    critic = player(generator, "critic")
    assert critic.generated is not None
    critic.generated(torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is None for p in generator.painter.parameters())


def test_training_learns_brightness_and_masks_of_plain_pictures() -> None:
    generator = trained(80)
    made = generator.sample(torch.zeros(8, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert made.images.mean().item() == pytest.approx(0.8, abs=0.25)
    assert made.masks[..., :8].mean() - made.masks[..., 8:].mean() > 0.4


def calibrating() -> Iterator[Batch]:
    for seed in range(3):
        yield batch(8, seed)


@pytest.fixture(scope="module")
def ready() -> PgganGenerator:
    generator = PgganGenerator(SMALL, settings())
    generator.calibrate(calibrating())
    return generator


def test_sampling_gives_ranges_masks_and_notes_and_works_without_gradients(ready: PgganGenerator) -> None:
    labels = torch.tensor([0, 1, 2, 1])
    with torch.inference_mode():
        made = ready.sample(labels, torch.Generator().manual_seed(0))
    assert made.images.shape == made.masks.shape == (4, 1, 16, 16)
    assert made.images.abs().max() <= 1.0
    assert made.masks.min() >= 0.0
    assert made.masks.max() <= 1.0
    assert torch.equal(made.labels, labels)
    columns = guide_notes(settings(), ("a", "b", "c"))
    assert [name for name, _ in columns] == ["accepted", "restarts", "critic", "guide_a", "guide_b", "guide_c"]
    assert list(made.notes) == ["accepted", "restarts", "critic", "guide_0", "guide_1", "guide_2"]
    assert all(note.shape == (4,) for note in made.notes.values())


def test_equal_randomness_gives_equal_bits_and_so_does_a_copy_from_its_state(ready: PgganGenerator) -> None:
    labels = torch.tensor([0, 1, 2])
    first, again = (ready.sample(labels, torch.Generator().manual_seed(5)) for _ in range(2))
    copy = PgganGenerator.from_state(SMALL, settings(), ready.state())
    restored = copy.sample(labels, torch.Generator().manual_seed(5))
    for other in (again, restored):
        assert torch.equal(first.images, other.images)
        assert torch.equal(first.masks, other.masks)
        assert all(torch.equal(first.notes[name], other.notes[name]) for name in first.notes)


def test_calibration_gives_the_critic_the_usual_spread_of_what_is_generated() -> None:
    generator = PgganGenerator(SMALL, settings())
    before = generator.critic.usual_spread.clone()
    generator.calibrate(calibrating())
    assert not torch.equal(generator.critic.usual_spread, before)


def test_the_usual_spread_is_the_same_when_pictures_are_painted_a_few_at_a_time() -> None:
    spreads = []
    for chunk in (64, 3):
        generator = PgganGenerator(SMALL, settings())
        generator._chunk = chunk
        generator.calibrate(calibrating())
        spreads.append(generator.critic.usual_spread)
    torch.testing.assert_close(*spreads)


@pytest.mark.parametrize(("guide", "most"), [("trained", 1), ("moments", 5)])
def test_calibration_images_are_kept_only_where_a_guide_learns_from_them(guide: str, most: int) -> None:
    given: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def batches() -> Iterator[Batch]:
        for seed in range(6):
            made = batch(8, seed)
            alive.append(sum(images() is not None for images in given))
            given.append(weakref.ref(made.images))
            yield made
            del made

    PgganGenerator(SMALL, settings(guide=guide)).calibrate(batches())
    assert max(alive) == most


def test_calibration_teaches_a_guide_of_the_moments() -> None:
    generator = PgganGenerator(SMALL, settings(guide="moments"))
    before = {name: tensor.clone() for name, tensor in generator.guide_state().items()}
    generator.calibrate(calibrating())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in generator.guide_state().items())


def test_a_taken_guide_is_used_and_not_trained(ready: PgganGenerator) -> None:
    other = PgganGenerator(SMALL, settings(seed=1))
    other.take_guide(ready.guide_state())
    assert [player.name for player in other.players()] == ["critic", "generator"]
    for name, tensor in other.guide_state().items():
        assert torch.equal(tensor, ready.guide_state()[name])


def test_what_does_not_fit_is_refused(ready: PgganGenerator) -> None:
    state = ready.state()
    with pytest.raises(IntegrityError, match="do not fit the generator"):
        PgganGenerator.from_state(SMALL, settings(width=16), state)
    bare = {name: tensor for name, tensor in state.items() if not name.startswith("thresholds")}
    with pytest.raises(IntegrityError, match="thresholds"):
        PgganGenerator.from_state(SMALL, settings(), bare)
    with pytest.raises(IntegrityError, match="do not fit the guide"):
        ready.take_guide({})


def test_the_seed_alone_decides_the_first_weights() -> None:
    torch.manual_seed(0)
    first = PgganGenerator(SMALL, settings()).state()
    torch.manual_seed(1)
    again, other = PgganGenerator(SMALL, settings()).state(), PgganGenerator(SMALL, settings(seed=1)).state()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_side_of_28_pixels_and_no_masks_are_served() -> None:
    spec = Spec(resolution=28, classes=2, segments=0)
    generator = PgganGenerator(spec, settings())
    assert generator.painter.sizes == (7, 14, 28)
    assert generator.painter.stage == Stage(2)
    made = generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert made.images.shape == (2, 1, 28, 28)
    assert made.masks.shape == (2, 0, 28, 28)


LARGE = """
schema: 1
purpose: See that a picture of 1024 pixels is a matter of configuration.
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort: {name: large, classes: [normal, nodule], segments: [heart], resolution: 1024}
privacy: {mode: none}
generator: {name: pggan, width: 8, latent: 4, lco: {steps: 1, restarts: 0, jitter: 0}}
"""


def test_a_policy_of_1024_pixels_gives_pictures_of_1024_pixels_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text(LARGE, encoding="utf-8")
    policy = load_policy(tmp_path / "large.yaml")
    generator = build(policy.generator, spec_of(policy))
    assert isinstance(generator, PgganGenerator)
    painted: list[int] = []
    generator.painter.register_forward_hook(lambda module, inputs, made: painted.append(len(made)))
    made = generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert made.images.shape == made.masks.shape == (2, 1, 1024, 1024)
    assert torch.isfinite(made.images).all()
    assert made.images.std() > 0.01
    assert set(painted) == {1}
