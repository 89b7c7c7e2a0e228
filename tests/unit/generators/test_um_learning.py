"""What painter and critics learn of each other, at both scales, and that they are shown map and edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from um_discs import SMALL, discs, rng, settings

from synthrelease.generators.protocol import Player
from synthrelease.generators.um.guidance import edges
from synthrelease.generators.um.losses import trusted
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.networks import Critics, Patches


def player(generator: UmGenerator, name: str) -> Player:
    return next(player for player in generator.players() if player.name == name)


def alone(each: Player, inputs: dict[str, Tensor], steps: int = 12) -> None:
    """One player learns from one batch while the others stand."""
    adam = torch.optim.Adam(each.module.parameters(), lr=3e-3)
    for _ in range(steps):
        adam.zero_grad()
        each.loss(each.module, inputs).mean().backward()  # type: ignore[no-untyped-call]
        adam.step()


def judge_all(critics: Critics, *verdicts: float) -> None:
    """From now on every patch of a scale has one score, whatever is shown."""
    with torch.no_grad():
        for scale, verdict in zip(critics.scales, verdicts, strict=True):
            assert isinstance(scale, Patches)
            assert scale.score.bias is not None
            scale.score.weight.zero_()
            scale.classes.weight.zero_()
            scale.score.bias.fill_(verdict)


class Bright(nn.Module):
    """In place of the finest critic of 16 pixels: takes for real what is brighter than the image's mean."""

    def forward(self, seen: Tensor, labels: Tensor) -> Tensor:
        """(N, 4, 4) logits of (N, 3, 16, 16) levels, edges and image."""
        patches = functional.avg_pool2d(seen[:, 2], 4)
        return 20 * (patches - patches.mean(dim=(1, 2), keepdim=True))


@pytest.mark.parametrize("source", ["generated", "procedural"])
@pytest.mark.parametrize(("real", "painted"), [(1.0, -1.0), (1.0, 1.0), (-1.0, -1.0), (-1.0, 1.0)])
def test_critics_are_taught_that_images_are_real_and_painted_ones_are_not(
    real: float, painted: float, source: str
) -> None:
    critics = player(UmGenerator(SMALL, settings(guidance=source)), "critics")
    white = torch.ones(2, 1, 16, 16)

    def forward(_guided: Tensor, images: Tensor, _labels: Tensor) -> Tensor:
        side, map_score = images.mean(dim=(1, 2, 3))[:, None], torch.full((2, 1), 2.0)
        scales = [(3.0 * side).expand(2, 16), side.expand(2, 4)]
        return torch.cat([*scales, map_score] if source == "generated" else scales, dim=1)

    def surprise(score: float) -> float:
        return float(functional.softplus(torch.tensor(-score)))

    inputs = {"guided": torch.zeros(2, 2, 16, 16), "labels": torch.tensor([0, 1])}
    found = critics.loss(forward, {**inputs, "real": real * white, "fake": painted * white})
    wanted = sum(surprise(sure * real) + surprise(-sure * painted) for sure in (3.0, 1.0)) / 4
    assert found.tolist() == pytest.approx([wanted + (surprise(2.0) if source == "generated" else 0)] * 2)


def test_critics_that_learned_tell_images_from_painted_ones_at_each_scale() -> None:
    generator = UmGenerator(SMALL, settings())
    critics = player(generator, "critics")
    inputs = critics.draw(discs(8, rng()), rng())
    alone(critics, inputs)
    with torch.no_grad():
        real, fake = (
            generator.critics.parted(generator.critics(inputs["guided"], inputs[name], inputs["labels"]))
            for name in ("real", "fake")
        )
    assert all(real[scale].mean() > fake[scale].mean() + 0.5 for scale in range(2))


def test_each_scale_judges_levels_edges_and_image() -> None:
    critics = UmGenerator(SMALL, settings()).critics
    seen, labels = torch.rand(3, 3, 16, 16, generator=rng()), torch.tensor([0, 1, 1])
    seen.requires_grad_()
    for scores in critics.parted(critics(seen[:, :2], seen[:, 2:], labels))[:2]:
        (slope,) = torch.autograd.grad(scores.sum(), seen, retain_graph=True)
        assert (slope.abs().amax(dim=(2, 3)) > 1e-4).all()


def test_the_painter_pays_for_what_either_scale_does_not_take_for_real() -> None:
    generator = UmGenerator(SMALL, settings())
    painter = player(generator, "painter")
    told = painter.draw(discs(4, rng()), rng())

    def cost(*verdicts: float) -> Tensor:
        judge_all(generator.critics, *verdicts)
        return painter.loss(painter.module, told).detach()

    # softplus(v) - softplus(-v) = v, and each of two scales weighs a half.
    least = cost(3.0, 1.0)
    torch.testing.assert_close(cost(-3.0, 1.0) - least, torch.full((4,), 1.5))
    torch.testing.assert_close(cost(3.0, -1.0) - least, torch.full((4,), 0.5))


def test_a_painter_that_learned_of_critics_alone_pleases_them_and_leaves_them_as_they_are() -> None:
    none = {"reconstruction_weight": 0.0, "segmentation_weight": 0.0, "pseudo_weight": 0.0}
    generator = UmGenerator(SMALL, settings(**none))
    painter, critics = player(generator, "painter"), generator.critics
    told = painter.draw(discs(8, rng()), rng())

    def verdicts() -> list[Tensor]:
        with torch.no_grad():
            image = generator.painter(told["guided"], told["labels"])[:, :1]
            return [scale.mean() for scale in critics.parted(critics(told["guided"], image, told["labels"]))[:2]]

    before = verdicts()
    alone(painter, told)
    assert all(after > was + 0.05 for after, was in zip(verdicts(), before, strict=True))
    assert all(weights.grad is None for weights in critics.parameters())


def test_painter_and_critics_are_shown_the_edges_of_the_map() -> None:
    generator = UmGenerator(SMALL, settings())
    for name in ("critics", "painter"):
        seen = player(generator, name).draw(discs(4, rng()), rng())["guided"]
        assert 0.1 < seen[:, 1:].mean() < 0.9
        assert torch.equal(seen[:, 1:], edges(seen[:, :1]))


def test_what_is_painted_follows_the_edges_of_the_map() -> None:
    generator = UmGenerator(SMALL, settings())
    batch = discs(4, rng())
    maps = generator.guidance.of(batch.images)
    made = generator.painted(maps, batch.labels).images
    with torch.no_grad():
        own, none = (generator.painter(torch.cat([maps, e * edges(maps)], dim=1), batch.labels) for e in (1, 0))
    torch.testing.assert_close(made, own[:, :1])
    assert ((made - none[:, :1]).abs().mean(dim=(1, 2, 3)) > 1e-3).all()


def test_pseudo_masks_count_where_the_critic_takes_what_was_painted_for_real() -> None:
    generator = UmGenerator(SMALL, settings(trusted_from=0.5, pseudo_weight=1.0))
    generator.critics.scales[0] = Bright()
    each = player(generator, "painter")
    told = each.draw(replace(discs(4, rng()), labelled=torch.zeros(4, dtype=torch.bool)), rng())
    with torch.no_grad():
        painted = generator.painter(told["guided"], told["labels"])[:, :1]
        drawn, real = (
            trusted(generator.critics.parted(generator.critics(told["guided"], image, told["labels"]))[0], 16, 0.5)
            for image in (painted, told["image"])
        )
    assert 0.1 < drawn.mean() < 0.9
    assert (drawn != real).float().mean() > 0.1
    assert torch.equal(told["pixels"], drawn)

    def cost(turned: Tensor) -> Tensor:
        return each.loss(each.module, {**told, "wanted": torch.where(turned, 1 - told["wanted"], told["wanted"])})

    usual = cost(torch.tensor(False))
    torch.testing.assert_close(cost(drawn == 0), usual)
    assert (cost(drawn == 1) > usual + 0.1).any()
