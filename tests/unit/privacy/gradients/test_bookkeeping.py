"""Book-keeping gives what patients taken apart give, and says so where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthrelease.generators.diffusion.model import DiffusionGenerator
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.policy.generators import DiffusionGenerator as Settings
from synthrelease.privacy.clipping import Backend, clipped_gradient_sum
from synthrelease.privacy.gradients.block import Unsupported, squared_norms_of, trained
from synthrelease.privacy.gradients.bookkeeping import book_kept
from synthrelease.privacy.gradients.hooked import hooked
from synthrelease.privacy.gradients.trial import problem
from synthrelease.privacy.gradients.vmapped import patient_gradients, vmapped

ONES = torch.ones(4, dtype=torch.float64)


def squares(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,) mean squares of outputs about a target."""
    out = forward(inputs["x"]).flatten(1)
    return ((out - inputs["target"][:, None]) ** 2).mean(dim=1)


def pictures(count: int = 4, rows: int = 2, size: int = 8) -> dict[str, Tensor]:
    """Random patients."""
    rng = torch.Generator().manual_seed(1)
    return {
        "x": torch.randn(count, rows, 1, size, size, generator=rng),
        "target": torch.randn(count, rows, generator=rng),
    }


class Critic(nn.Module):
    """Four by four convolutions of stride two, group norms, a linear end."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 16, 4, 2, 1),
            nn.GroupNorm(4, 16),
            nn.LeakyReLU(0.2),
        )
        self.end = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 1)."""
        out: Tensor = self.end(self.body(x).flatten(1))
        return out


def assert_agree(module: nn.Module, loss: Callable[..., Tensor], inputs: dict[str, Tensor]) -> None:
    """All three ways and the loop over patients."""
    count = next(iter(inputs.values())).shape[0]
    rows = []
    for p in range(count):
        module.zero_grad()
        loss(module, {n: v[p] for n, v in inputs.items()}).mean().backward()
        rows.append(torch.cat([q.grad.flatten() for q in trained(module).values() if q.grad is not None]).double())
    module.zero_grad()
    naive = torch.stack(rows)
    weights = torch.linspace(0, 1, count, dtype=torch.float64)
    for way in (book_kept, vmapped, hooked):
        found = way(module, loss, inputs)
        assert torch.allclose(found.squared_norms, naive.square().sum(dim=1), rtol=1e-4)
        assert torch.allclose(
            found.weighted_sum(weights), weights @ naive, rtol=1e-4, atol=1e-5 * float(naive.abs().max())
        )


def test_a_critic_gives_the_same_in_all_three_ways_as_in_a_loop() -> None:
    assert_agree(Critic(), squares, pictures())


def test_channels_beside_each_other_in_memory_change_no_gradient() -> None:
    """Generators lie so, since it is quicker; Opacus cuts wrong patches from what lies so unless it is put in order."""
    critic = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, 4, 3, 2, 1), nn.Flatten())
    critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = pictures()
    inputs["x"] = torch.randn(4, 2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    assert_agree(critic, squares, inputs)
    assert not any(module._forward_pre_hooks for module in critic.modules())


@pytest.mark.parametrize(("resolution", "segments"), [(16, 2), (28, 0), (32, 3)])
def test_the_diffusion_generator_gives_the_same_in_all_three_ways(resolution: int, segments: int) -> None:
    spec = Spec(resolution=resolution, classes=3, segments=segments)
    player = DiffusionGenerator(spec, Settings(name="diffusion", width=8)).players()[0]
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in player.module.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=rng))
    batch = Batch(
        torch.randn(8, 1, resolution, resolution, generator=rng),
        torch.rand(8, segments, resolution, resolution, generator=rng),
        torch.randint(3, (8,), generator=rng),
    )
    inputs = {n: v.reshape(4, 2, *v.shape[1:]) for n, v in player.draw(batch, rng).items()}
    assert problem(player.module, player.loss, inputs) is None
    assert_agree(player.module, player.loss, inputs)


class Twice(nn.Module):
    """One convolution and one linear layer, each used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.end = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 64)."""
        h = self.conv(functional.silu(self.conv(x))).flatten(1)
        out: Tensor = self.end(functional.silu(self.end(h)))
        return out


def test_a_layer_that_is_used_twice_counts_both_uses() -> None:
    net, inputs = Twice(), pictures()
    expected, _ = patient_gradients(net, squares, inputs)
    found = book_kept(net, squares, inputs)
    assert torch.allclose(found.squared_norms, expected.double().square().sum(dim=1), rtol=1e-4)
    assert torch.allclose(found.weighted_sum(ONES), expected.double().sum(dim=0), rtol=1e-4, atol=1e-6)


def test_a_layer_that_is_not_used_has_gradient_zero() -> None:
    net = Critic()
    net.add_module("idle", nn.Linear(3, 2))
    found = book_kept(net, squares, pictures())
    assert len(found.weighted_sum(ONES)) == sum(p.numel() for p in net.parameters())
    assert not found.weighted_sum(ONES)[-8:].any()


class Scale(nn.Module):
    """A parameter of the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.end = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 1)."""
        out: Tensor = self.end(x.flatten(1) * self.scale)
        return out


class Own(nn.Linear):
    """Computes something else than its parent."""

    def forward(self, input: Tensor) -> Tensor:
        """Twice the layer."""
        return 2 * super().forward(input)


class Inplace(nn.Module):
    """Changes what a layer put out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.more = nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 2, 4, 4)."""
        return torch.as_tensor(self.more(self.conv(x)).mul_(2.0))


class Functional(nn.Module):
    """Uses the weight of a layer without the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.end = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 1)."""
        out: Tensor = self.end(x.flatten(1)) + functional.linear(x.flatten(1) ** 2, self.end.weight)
        return out


class Turned(nn.Module):
    """Gives rows to a layer in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.end = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 1)."""
        out: Tensor = self.end(x.flatten(1).flip(0)).flip(0)
        return out


class Joined(nn.Module):
    """Gives a layer two rows for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.end = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 1)."""
        first, second = self.end(torch.cat([x, x**2]).flatten(1)).chunk(2)
        return torch.as_tensor(first * second)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 64)."""
        out: Tensor = self.second(functional.silu(self.first(x.flatten(1))))
        return out


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Scale, "parameters of its own"),
        (lambda: nn.Sequential(nn.Flatten(), Own(64, 1)), "parameters of its own"),
        (Inplace, "in place"),
        (Tied, "also a parameter of"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")), "padding mode reflect"),
        (Joined, "one row"),
        (Functional, "differ"),
        (Turned, "differ"),
    ],
)
def test_what_book_keeping_cannot_do_is_found_before_training(net: Callable[[], nn.Module], words: str) -> None:
    torch.manual_seed(0)
    found = problem(net(), squares, pictures())
    assert found is not None
    assert words in found


def test_a_gradient_penalty_is_left_to_patients_taken_apart() -> None:
    def penalised(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        slope = torch.func.grad(lambda x: forward(x).sum())(inputs["x"])
        return squares(forward, inputs) + slope.flatten(1).square().sum(dim=1)

    assert problem(Critic(), penalised, pictures()) is not None


def test_one_loss_a_row_is_asked_for() -> None:
    with pytest.raises(Unsupported, match="shape"):
        book_kept(Critic(), lambda forward, inputs: squares(forward, inputs).mean(), pictures())


def test_the_network_is_left_as_it_was() -> None:
    net = Critic()
    net.end.bias.requires_grad_(False)
    before = {n: p.clone() for n, p in net.named_parameters()}
    problem(net, squares, pictures())
    with pytest.raises(Unsupported):
        book_kept(net, lambda forward, inputs: squares(forward, inputs).sum(), pictures())
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["end.bias"]
    assert all(torch.equal(p, before[n]) for n, p in net.named_parameters())
    assert not any(layer._forward_hooks for layer in net.modules())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_patient_that_is_not_finite_spoils_nobody_else(value: float) -> None:
    net, clean = Critic(), pictures()
    spoiled = {n: v.clone() for n, v in clean.items()}
    spoiled["x"][1, 0, 0, 3, 3] = value
    found = book_kept(net, squares, spoiled)
    assert torch.isfinite(found.squared_norms).tolist() == [True, False, True, True]
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    expected = book_kept(net, squares, clean).weighted_sum(weights)
    assert torch.allclose(found.weighted_sum(weights), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", ["fast", "vmap", "opacus"])
def test_a_gradient_too_large_to_be_scaled_in_float32_is_refused(backend: Backend) -> None:
    inputs = pictures()
    inputs["target"][2] = 1e17
    found, _ = clipped_gradient_sum(Critic(), squares, [inputs], 1.0, block=4, backend=backend)
    assert (found.patients, found.refused) == (4, 1)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_images_that_cancel_do_not_hide_what_rounding_leaves_of_them(size: float) -> None:
    """The gradient of x with slope 1 and of x with slope -1 is zero; in float32 it is not."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 256))
    x = torch.randn(1, 4, 192)
    inputs = {"x": x.repeat(2, 2, 1) * size, "slope": torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1]).repeat(2, 1)}

    def signed(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        return forward(inputs["x"]).sin().sum(dim=1) * inputs["slope"]

    C = 1e-3
    found = book_kept(net, signed, inputs)
    factors = C / torch.clamp(found.squared_norms.sqrt(), min=C)
    for p in range(2):
        alone = torch.zeros(2, dtype=torch.float64)
        alone[p] = factors[p]
        assert float(found.weighted_sum(alone).norm()) <= C * (1 + 1e-5)


def test_squared_norms_are_exact_for_long_and_for_large_rows() -> None:
    rows = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(squared_norms_of(rows), rows.double().square().sum(dim=1), rtol=1e-7)
    assert torch.allclose(squared_norms_of(rows * 1e25), rows.double().square().sum(dim=1) * 1e50, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_gives_the_same() -> None:
    net, inputs = Critic(), pictures()
    expected = book_kept(net, squares, inputs)
    found = book_kept(net.cuda(), squares, {n: v.cuda() for n, v in inputs.items()})
    assert torch.allclose(found.squared_norms.cpu(), expected.squared_norms, rtol=1e-3)
    assert torch.allclose(found.weighted_sum(ONES.cuda()).cpu(), expected.weighted_sum(ONES), rtol=1e-2, atol=1e-4)
