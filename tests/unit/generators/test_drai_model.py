"""The generator that parts content from style, as the training loop, the privacy checks and the sampler see it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from synthrelease.errors import IntegrityError, PolicyError
from synthrelease.generators.drai.model import DraiGenerator, pictures, style_notes
from synthrelease.generators.drai.settings import on_real_images
from synthrelease.generators.protocol import Batch, Growing, Player, Spec
from synthrelease.policy.generators import DraiGenerator as Settings
from synthrelease.privacy.clipping import patient_gradients
from synthrelease.privacy.isolation import assert_patients_isolated
from synthrelease.training.backends import TRIAL_ROWS, backend_for
from synthrelease.training.loop import Stepper, no_images, plain_gradient, step_together

SMALL = Spec(resolution=16, classes=3, segments=1)
ROWS = {
    "DAI": {"reversal_weight": 0, "self_supervision_weight": 0},
    "DAI + reversal": {"self_supervision_weight": 0},
    "DAI + self-supervision": {"reversal_weight": 0},
    "DRAI": {},
}
PRIVATE = {"penalty_on": "generated"}


def settings(**changes: Any) -> Settings:
    return Settings(**{"name": "drai", "width": 8, "style": 4, "content": 5, "batch": 8, **changes})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(size: int = 8, seed: int = 0, spec: Spec = SMALL) -> Batch:
    shape = (size, spec.segments, spec.resolution, spec.resolution)
    return Batch(
        images=torch.rand(size, 1, *shape[2:], generator=rng(seed)) * 2 - 1,
        masks=torch.rand(shape, generator=rng(seed + 1)),
        labels=torch.randint(spec.classes, (size,), generator=rng(seed + 2)),
    )


def player(generator: DraiGenerator, name: str) -> Player:
    return next(player for player in generator.players() if player.name == name)


def losses_of(player: Player, given: Batch, seed: int = 1) -> Tensor:
    return player.loss(player.module, player.draw(given, rng(seed))).detach()


def of_two_halves(size: int, generator: torch.Generator) -> Batch:
    """Class 0 is bright on the left, class 1 on the right, and the mask says where; style is how bright."""
    labels = torch.randint(2, (size,), generator=generator)
    masks = torch.zeros(size, 1, 16, 16)
    masks[labels == 0, :, :, :8] = 1.0
    masks[labels == 1, :, :, 8:] = 1.0
    level = 0.4 + 0.6 * torch.rand(size, 1, 1, 1, generator=generator)
    return Batch(masks * level * 1.6 - 0.8, masks, labels)


def trained(steps: int, **changes: Any) -> DraiGenerator:
    generator = DraiGenerator(Spec(16, 2, 1), settings(**changes))
    steppers = [Stepper(player, learning_rate=2e-3, decay=0.95) for player in generator.players()]
    gradient = plain_gradient(lambda step, random: of_two_halves(8, random), 0, "steps")
    for step in range(steps):
        generator.grow(step / steps)
        for stepper in steppers:
            step_together((stepper,), gradient, step)
    for stepper in steppers:
        stepper.take_average()
    return generator


@pytest.mark.parametrize(
    ("changes", "names", "real"),
    [
        (
            {"predictor_steps": 3},
            ["critics", "predictors", "encoder", "generator"],
            ("critics", "predictors", "encoder", "generator"),
        ),
        (PRIVATE, ["critics", "predictors", "encoder", "generator"], ("critics", "predictors", "encoder", "generator")),
        (
            {**PRIVATE, "cycle": "latent"},
            ["critics", "predictors", "encoder", "generator"],
            ("critics", "predictors", "encoder"),
        ),
        ({"reversal_weight": 0}, ["critics", "encoder", "generator"], ("critics", "encoder", "generator")),
    ],
)
def test_players_that_see_real_images_are_those_that_a_plan_pays_for(
    changes: dict[str, Any], names: list[str], real: tuple[str, ...]
) -> None:
    chosen = settings(**changes)
    players = DraiGenerator(SMALL, chosen).players()
    assert [player.name for player in players] == names
    assert tuple(player.name for player in players if player.sees_real) == real == on_real_images(chosen)


@pytest.mark.parametrize("cycle", ["image", "latent"])
def test_under_privacy_every_player_reads_each_row_by_itself_and_takes_the_fast_way(cycle: str) -> None:
    for each in DraiGenerator(SMALL, settings(**PRIVATE, cycle=cycle)).players():
        if each.sees_real:
            inputs = each.draw(no_images(SMALL, TRIAL_ROWS, rng()), rng())
            assert backend_for(each, inputs, "fast") == ("fast", None), each.name


def test_the_penalty_on_some_rows_is_refused_for_private_training() -> None:
    critics = player(DraiGenerator(SMALL, settings()), "critics")
    with pytest.raises(PolicyError, match="cannot be trained privately"):
        assert_patients_isolated(critics.module, critics.loss, critics.draw(no_images(SMALL, 6, rng()), rng()))


def test_the_penalty_on_generated_pictures_holds_the_critics_down_outside_the_patients_losses() -> None:
    with_penalty, without = (
        player(DraiGenerator(SMALL, settings(**{**PRIVATE, "penalty_weight": weight})), "critics")
        for weight in (1.0, 0.0)
    )
    assert torch.equal(losses_of(with_penalty, batch()), losses_of(without, batch()))
    assert with_penalty.generated is not None
    assert without.generated is not None
    assert with_penalty.generated(rng()) > without.generated(rng())


def test_the_penalty_of_a_part_of_the_batch_weighs_as_much_as_of_all() -> None:
    with_penalty, without = (
        player(DraiGenerator(SMALL, settings(penalty_weight=weight)), "critics") for weight in (1.0, 0.0)
    )
    one = batch(1)
    same = Batch(one.images.expand(8, -1, -1, -1), one.masks.expand(8, -1, -1, -1), one.labels.expand(8))
    rows = with_penalty.draw(same, rng())
    rows = {name: value[:1].expand_as(value) for name, value in rows.items()}
    penalty = with_penalty.loss(with_penalty.module, rows) - without.loss(without.module, rows)
    single = {name: value[:1] for name, value in rows.items()}
    alone = with_penalty.loss(with_penalty.module, single) - without.loss(without.module, single)
    torch.testing.assert_close(penalty.mean(), alone[0])
    assert (penalty[2:] == 0).all()


@pytest.mark.parametrize("name", ["critics", "predictors", "encoder", "generator"])
def test_a_patients_gradient_stays_when_all_others_change(name: str) -> None:
    """With what is drawn: codes, wrong classes and transforms of a record may not come from its neighbours either."""
    each = player(DraiGenerator(SMALL, settings(**PRIVATE)), name)
    one, other = batch(6), batch(6, seed=9)
    mixed = Batch(
        *(torch.cat([mine[:2], theirs[2:]]) for mine, theirs in
          ((one.images, other.images), (one.masks, other.masks), (one.labels, other.labels)))
    )  # fmt: skip
    gradients = []
    for given in (one, mixed):
        rows = {k: v.reshape(3, 2, *v.shape[1:]) for k, v in each.draw(given, rng(1)).items()}
        gradients.append(patient_gradients(each.module, each.loss, rows)[0])
    torch.testing.assert_close(gradients[0][0], gradients[1][0], atol=1e-6, rtol=1e-4)
    assert (gradients[0][1] - gradients[1][1]).norm() > 1e-4


def test_with_the_latent_cycle_no_real_picture_reaches_the_generator() -> None:
    painted = player(DraiGenerator(SMALL, settings(cycle="latent")), "generator")
    assert torch.equal(losses_of(painted, batch()), losses_of(painted, batch(seed=5)))
    through_the_image = player(DraiGenerator(SMALL, settings()), "generator")
    assert not torch.equal(losses_of(through_the_image, batch()), losses_of(through_the_image, batch(seed=5)))


@pytest.mark.parametrize("name", ["critics", "predictors", "encoder", "generator"])
@pytest.mark.parametrize("cycle", ["image", "latent"])
def test_what_a_player_learns_from_reaches_that_player_alone(name: str, cycle: str) -> None:
    generator = DraiGenerator(SMALL, settings(cycle=cycle))
    each = player(generator, name)
    each.loss(each.module, each.draw(batch(), rng())).mean().backward()
    if each.generated is not None:
        each.generated(rng()).backward()
    own = {id(p) for p in each.module.parameters()}
    for other in (generator.critics, generator.encoder, generator.painter, generator.predictors):
        for p in other.parameters():
            assert id(p) in own or p.grad is None
    assert any(p.grad is not None for p in each.module.parameters())


def test_the_classes_contents_learn_from_the_critics() -> None:
    # Without their pull to a normal law, nothing else would move them.
    generator = DraiGenerator(SMALL, settings(conditioning_weight=0.0))
    painted = player(generator, "generator")
    assert painted.generated is not None
    painted.generated(rng()).backward()
    gradient = generator.painter.conditioning.weight.grad
    assert gradient is not None
    assert (gradient.norm(dim=1) > 0).all()


@pytest.mark.parametrize("row", ROWS)
def test_each_switch_adds_its_own_term_to_the_encoder_and_nothing_else(row: str) -> None:
    """The four rows of the ablation differ in those terms alone."""
    generators = {name: DraiGenerator(SMALL, settings(**changes)) for name, changes in ROWS.items()}
    plain, own = (player(generators[name], "encoder") for name in ("DAI", row))
    looks = player(generators["DRAI"], "encoder").draw(batch(), rng())
    generators[row].grow(0.0)  # the reversal weighs nothing yet
    assert ("turned" in own.draw(batch(), rng())) is ("self-supervision" in row or row == "DRAI")
    same = torch.equal(own.loss(own.module, looks), plain.loss(plain.module, looks))
    assert same is ("self-supervision" not in row and row != "DRAI")
    generators[row].grow(1.0)
    assert torch.equal(own.loss(own.module, looks), plain.loss(plain.module, looks)) is (row == "DAI")
    names = [each.name for each in generators[row].players()]
    assert ("predictors" in names) is ("reversal" in row or row == "DRAI")
    for name in ("critics", "generator"):
        torch.testing.assert_close(
            losses_of(player(generators[row], name), batch()), losses_of(player(generators["DAI"], name), batch())
        )


def test_the_predictors_take_several_turns_on_batches_of_their_own_and_one_where_each_is_paid_for() -> None:
    each = player(DraiGenerator(SMALL, settings(predictor_steps=3)), "predictors")
    seen: list[int] = []
    gradient = plain_gradient(lambda step, random: (seen.append(random.initial_seed()), batch())[1], 0, "steps")
    step_together((Stepper(each, learning_rate=1e-3, decay=0.9),), gradient, 0)
    assert len(set(seen)) == len(seen) == 3
    step_together((Stepper(each, learning_rate=1e-3, decay=0.9, private=True),), gradient, 0)
    assert len(seen) == 4


def test_the_reversal_rises_with_training_and_no_layer_joins() -> None:
    generator = DraiGenerator(SMALL, settings())
    assert isinstance(generator, Growing)
    each = player(generator, "encoder")
    looks = each.draw(batch(), rng())
    levels = []
    for share in (0.0, 0.2, 1.0):
        assert not generator.grow(share)
        levels.append(each.loss(each.module, looks).mean().item())
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[1] > levels[2]


def test_training_learns_classes_masks_and_codes() -> None:
    generator = trained(120, reversal_weight=0.3, predictor_steps=2)
    labels = torch.arange(16) % 2
    made = generator.sample(labels, rng())
    left = made.masks[..., :8].mean(dim=(1, 2, 3)) - made.masks[..., 8:].mean(dim=(1, 2, 3))
    assert ((left > 0) == (labels == 0)).float().mean() >= 0.9
    real = of_two_halves(32, rng(3))
    codes = generator.infer(real)
    again = generator.painter(codes.style.mean, codes.content.mean)
    assert (again - pictures(real)).abs().mean() < 0.5 * (pictures(real).mean(0) - pictures(real)).abs().mean()


def test_sampling_gives_ranges_and_masks_and_works_without_gradients() -> None:
    generator = DraiGenerator(SMALL, settings())
    labels = torch.tensor([0, 1, 2, 1])
    with torch.inference_mode():
        made = generator.sample(labels, rng())
    assert made.images.shape == made.masks.shape == (4, 1, 16, 16)
    assert made.images.abs().max() <= 1.0
    assert made.masks.min() >= 0.0
    assert made.masks.max() <= 1.0
    assert torch.equal(made.labels, labels)
    assert not made.images.requires_grad


def test_equal_randomness_gives_equal_bits_and_so_does_a_copy_from_its_state() -> None:
    generator = DraiGenerator(SMALL, settings())
    copy = DraiGenerator.from_state(SMALL, settings(), generator.state())
    labels = torch.arange(70) % 3
    first, again, restored = (g.sample(labels, rng(5)) for g in (generator, generator, copy))
    for other in (again, restored):
        assert torch.equal(first.images, other.images)
        assert torch.equal(first.masks, other.masks)


def test_rows_of_the_grid_share_a_content_and_columns_a_style() -> None:
    generator = DraiGenerator(SMALL, settings())
    made = generator.sample_grid(torch.tensor([0, 0, 2]), 4, rng())
    assert made.labels.tolist() == [0] * 8 + [2] * 4
    seen: list[tuple[Tensor, Tensor]] = []
    generator.painter.register_forward_pre_hook(lambda module, given: seen.append(given))
    generator.sample_grid(torch.tensor([0, 0, 2]), 4, rng())
    style, content = (part.reshape(3, 4, -1) for part in seen[0])
    assert (style == style[:1]).all()
    assert (content == content[:, :1]).all()
    assert not torch.equal(content[0], content[1])
    assert not torch.equal(style[:, 0], style[:, 1])


def test_every_class_is_drawn_in_the_same_so_many_styles_and_a_note_says_which() -> None:
    generator = DraiGenerator(SMALL, settings(styles_per_finding=2))
    seen: list[tuple[Tensor, Tensor]] = []
    generator.painter.register_forward_pre_hook(lambda module, given: seen.append(given))
    made = generator.sample(torch.tensor([0, 0, 1, 0, 1, 2]), rng())
    assert made.notes["style"].tolist() == [0, 1, 0, 0, 1, 0]
    style, content = seen[0]
    assert torch.equal(style[0], style[2])
    assert torch.equal(style[0], style[3])
    assert torch.equal(style[1], style[4])
    assert not torch.equal(style[0], style[1])
    assert not torch.equal(content[0], content[3])
    generator.sample_grid(torch.tensor([2]), 4, rng(0))  # of the seed that the settings have, too
    assert torch.equal(seen[1][0][:2], style[:2])
    assert len(seen[1][0].unique(dim=0)) == 4
    assert style_notes(settings(styles_per_finding=2), ())[0][0] == "style"
    assert style_notes(settings(), ()) == ()
    assert not DraiGenerator(SMALL, settings()).sample(torch.tensor([0]), rng()).notes


def test_nothing_of_the_encoder_is_kept_with_the_generator() -> None:
    generator = DraiGenerator(SMALL, settings())
    assert set(generator.state()) == set(generator.painter.state_dict())
    before = {name: tensor.clone() for name, tensor in generator.state().items()}
    generator.infer(batch())
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state().items())
    with pytest.raises(ValueError, match="the encoder is not kept"):
        DraiGenerator.from_state(SMALL, settings(), generator.state()).infer(batch())


def test_diagnostics_read_no_real_picture_and_see_a_style_that_is_ignored() -> None:
    generator = DraiGenerator(SMALL, settings())
    figures = generator.diagnostics(rng())
    assert figures == generator.diagnostics(rng())
    assert figures["style_usage"] > 0
    assert all(torch.isfinite(torch.tensor(list(figures.values()))))
    with torch.no_grad():
        generator.painter.decoder.start.weight[:, :4] = 0
        for modulation in generator.painter.decoder.modulations:
            modulation.weight[:, :4] = 0
    assert generator.diagnostics(rng())["style_usage"] == pytest.approx(0.0, abs=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    state = DraiGenerator(SMALL, settings()).state()
    with pytest.raises(IntegrityError, match="do not fit"):
        DraiGenerator.from_state(SMALL, settings(width=16), state)


def test_the_seed_alone_decides_the_first_weights() -> None:
    torch.manual_seed(0)
    first = DraiGenerator(SMALL, settings()).state()
    torch.manual_seed(1)
    again, other = DraiGenerator(SMALL, settings()).state(), DraiGenerator(SMALL, settings(seed=1)).state()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("resolution", [28, 32])
def test_other_sides_one_class_and_no_masks_are_served(resolution: int) -> None:
    spec = Spec(resolution=resolution, classes=1, segments=0)
    generator = DraiGenerator(spec, settings())
    made = generator.sample(torch.zeros(2, dtype=torch.int64), rng())
    assert made.images.shape == (2, 1, resolution, resolution)
    assert made.masks.shape == (2, 0, resolution, resolution)
    for each in generator.players():
        assert losses_of(each, batch(4, spec=spec)).shape == (4,)
