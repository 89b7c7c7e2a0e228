"""A network in which patients reach each other is refused, whatever the layer is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from synthrelease.errors import PolicyError
from synthrelease.privacy.isolation import assert_patients_isolated, layer_problems, opacus_problems

Forward = Callable[..., Tensor]


class MinibatchDeviation(nn.Module):
    """The layer of progressive GANs: the deviation over the batch as one more channel. No validator of types knows it."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + 1, H, W)."""
        deviation = x.std(dim=0).mean().expand(len(x), 1, *x.shape[2:])
        return torch.cat([x, deviation], dim=1)


class Centred(nn.Module):
    """Subtracts the detached mean of the batch: no gradient shows it."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x - x.detach().mean(dim=0)


class Running(nn.Module):
    """Keeps a running mean of what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        with torch.no_grad():
            self.seen += x.mean()
        return x


class ZeroEnd(nn.Module):
    """Mixes examples, then multiplies by an initial zero, as fresh diffusion networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        return x + self.scale * x.roll(1, dims=0)


def net(*layers: nn.Module, channels: int = 4) -> nn.Module:
    """A small network around the layers."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *layers, nn.SiLU(), nn.Flatten(), nn.Linear(channels * 36, 1))


def squared(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,)."""
    return forward(inputs["images"])[:, 0] ** 2


INPUTS = {"images": torch.zeros(4, 1, 6, 6)}


@pytest.mark.parametrize(
    "module",
    [net(), net(nn.GroupNorm(2, 4)), net(nn.InstanceNorm2d(4)), net(nn.LayerNorm([4, 6, 6]))],
    ids=["plain", "group", "instance", "layer"],
)
def test_layers_that_keep_patients_apart_pass(module: nn.Module) -> None:
    assert_patients_isolated(module, squared, INPUTS)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (net(nn.BatchNorm2d(4)), "mean and variance over the batch"),
        (net(nn.SyncBatchNorm(4)), "mean and variance over the batch"),
        (net(nn.InstanceNorm2d(4, track_running_stats=True)), "running statistics"),
        (net(MinibatchDeviation(), channels=5), "not zero"),
        (net(ZeroEnd()), "not zero"),
        (net(Centred()), "changes one example's loss"),
        (net(Running()), "buffers change"),
        (net(nn.Dropout(0.5)), "draws inside the loss"),
    ],
    ids=[
        "batch norm",
        "sync batch norm",
        "running instance norm",
        "minibatch deviation",
        "hidden by zeros",
        "detached mean",
        "buffer",
        "dropout",
    ],
)
def test_layers_that_mix_patients_are_refused_with_the_reason(module: nn.Module, says: str) -> None:
    with pytest.raises(PolicyError, match=says) as refusal:
        assert_patients_isolated(module, squared, INPUTS, opacus=False)
    assert "norm at most C" in refusal.value.fix


def test_the_validator_of_opacus_finds_batch_norm_and_misses_the_minibatch_deviation() -> None:
    assert opacus_problems(net(nn.BatchNorm2d(4)))
    assert not opacus_problems(net(MinibatchDeviation(), channels=5))
    assert not layer_problems(net(MinibatchDeviation(), channels=5))


@pytest.mark.parametrize("kind", ["contrastive", "normalised", "mean"])
def test_losses_that_mix_patients_are_refused(kind: str) -> None:
    def loss(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
        out = forward(inputs["images"])[:, 0]
        if kind == "contrastive":
            return -torch.log_softmax(out[:, None] * out[None, :], dim=1).diagonal()
        if kind == "normalised":
            return out**2 / (out**2).sum()
        return (out**2).mean()

    with pytest.raises(PolicyError, match="cannot be trained privately"):
        assert_patients_isolated(net(), loss, INPUTS, opacus=False)


def test_the_trial_leaves_mode_and_buffers_as_they_were() -> None:
    module = net(Running()).eval()
    with pytest.raises(PolicyError):
        assert_patients_isolated(module, squared, INPUTS, opacus=False)
    assert not module.training
    assert all(float(value) == 0 for value in module.buffers())


def test_one_example_cannot_show_anything() -> None:
    with pytest.raises(ValueError, match="two examples"):
        assert_patients_isolated(net(), squared, {"images": torch.zeros(1, 1, 6, 6)})
