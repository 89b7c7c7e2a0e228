"""Losses and penalties of the progressive GAN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from synthrelease.generators.pggan import losses
from synthrelease.generators.pggan.critic import Critic


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Plane(nn.Module):
    """A linear critic: its slope is its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(32, generator=rng(7)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x.flatten(1) @ self.weight)


PICTURES = torch.randn(5, 2, 4, 4, generator=rng())


def test_the_slope_of_a_linear_critic_is_its_weight() -> None:
    plane = Plane()
    expected = plane.weight.detach().square().sum().expand(5)
    torch.testing.assert_close(losses.squared_slopes(plane, PICTURES), expected)


def test_the_gradient_penalty_of_a_linear_critic_is_that_of_its_length() -> None:
    plane = Plane()
    found = losses.gradient_penalty(plane, PICTURES, -PICTURES, torch.rand(5, generator=rng()), 10.0)
    torch.testing.assert_close(found, (10.0 * (plane.weight.norm() - 1.0) ** 2).expand(5))


def test_r1_counts_a_coarse_pixel_as_the_block_that_it_stands_for() -> None:
    plane = Plane()

    def full(x: Tensor) -> Tensor:
        return plane(nn.functional.avg_pool2d(x, 4))

    fine = nn.functional.interpolate(PICTURES, scale_factor=4.0)
    torch.testing.assert_close(losses.r1(plane, PICTURES, 3.0, 16), losses.r1(full, fine, 3.0, 16))


@pytest.mark.parametrize("kind", ["r1", "gradient penalty"])
def test_penalties_differentiate_per_example_as_in_a_loop(kind: str) -> None:
    torch.manual_seed(0)
    critic = Critic(2, 8, 8, batch_spread=False)
    parameters = {name: p.detach() for name, p in critic.named_parameters() if p.requires_grad}
    real, fake = torch.randn(3, 2, 8, 8, generator=rng(1)), torch.randn(3, 2, 8, 8, generator=rng(2))
    where = torch.rand(3, generator=rng(3))

    def penalty(forward: losses.Forward, rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        if kind == "r1":
            return losses.r1(forward, rows[0], 1.0, 8)
        return losses.gradient_penalty(forward, *rows, 10.0)

    def alone(values: dict[str, Tensor], rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        one = (rows[0][None], rows[1][None], rows[2][None])
        return penalty(lambda x: functional_call(critic, values, (x,)), one)[0]

    together = vmap(grad(alone), in_dims=(None, 0))(parameters, (real, fake, where))
    for row in range(3):
        critic.zero_grad()
        penalty(critic, (real[row : row + 1], fake[row : row + 1], where[row : row + 1])).sum().backward()
        for name, p in critic.named_parameters():
            if p.requires_grad:
                expected = torch.zeros_like(p) if p.grad is None else p.grad
                torch.testing.assert_close(together[name][row], expected, rtol=1e-4, atol=1e-5)


def test_a_flat_critic_has_a_finite_gradient_of_its_penalty() -> None:
    plane = Plane()
    nn.init.zeros_(plane.weight)
    losses.gradient_penalty(plane, PICTURES, -PICTURES, torch.rand(5, generator=rng()), 10.0).sum().backward()
    assert torch.isfinite(torch.as_tensor(plane.weight.grad)).all()


@pytest.mark.parametrize("kind", ["softplus", "wgan_gp"])
def test_critic_and_generator_pull_against_each_other(kind: losses.Kind) -> None:
    scores = torch.tensor([-1.0, 0.5], requires_grad=True)

    def slope(of: Tensor) -> Tensor:
        return torch.autograd.grad(of.sum(), scores)[0]

    assert (slope(losses.on_real(scores, kind)) < 0).all()
    assert (slope(losses.on_generated(scores, kind)) > 0).all()
    assert (slope(losses.of_generator(scores, kind)) < 0).all()


def test_drift_calls_wasserstein_scores_back_from_afar() -> None:
    scores = torch.tensor([0.0, 2000.0], requires_grad=True)
    (slope,) = torch.autograd.grad(losses.on_real(scores, "wgan_gp").sum(), scores)
    assert slope[0] < 0.0 < slope[1]
