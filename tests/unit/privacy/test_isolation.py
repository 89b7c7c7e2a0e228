"""A network in which patients reach each other is refused, whatever the layer is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from synthrelease.errors import PolicyError
from synthrelease.privacy.isolation import assert_patients_isolated, layer_problems, opacus_problems
from synthrelease.privacy.mixing_causes import Cause

Forward = Callable[..., Tensor]
Loss = Callable[[Forward, Mapping[str, Tensor]], Tensor]


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


class Quantised(nn.Module):
    """A codebook of four vectors, moved by exponential averages of what falls to them, as in VQ-VAE."""

    codebook: Tensor

    def __init__(self, *, moving: bool) -> None:
        super().__init__()
        self.moving = moving
        book = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
        if moving:
            self.register_buffer("codebook", book)
        else:
            self.codebook = nn.Parameter(book)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4, H, W) -> the nearest code of every pixel, gradient passed straight through."""
        flat = x.movedim(1, -1).reshape(-1, 4)
        nearest = torch.cdist(flat, self.codebook).argmin(dim=1)
        if self.moving and self.training:
            with torch.no_grad():
                for code in nearest.unique():
                    self.codebook[code].lerp_(flat[nearest == code].mean(dim=0), 0.01)
        codes = self.codebook[nearest].reshape(x.movedim(1, -1).shape).movedim(-1, 1)
        return x + (codes - x).detach() if self.moving else codes + x


class Bank(nn.Module):
    """Keeps the last batch outside of any buffer, as a memory bank does."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        out = x if self.last is None else x + self.last.mean()
        self.last = x.detach()
        return out


class IteratedOutside(nn.Module):
    """A spectral norm whose power iteration is called once a step, from the weights, and not by forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4))
        self.register_buffer("vector", torch.ones(4) / 2)

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        assert isinstance(self.vector, Tensor)
        return torch.einsum("dc,nchw->ndhw", self.weight / (self.weight @ self.vector).norm(), x)


@pytest.mark.parametrize(
    "module",
    [
        net(),
        net(nn.GroupNorm(2, 4)),
        net(nn.InstanceNorm2d(4)),
        net(nn.LayerNorm([4, 6, 6])),
        net(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))),
        net(Quantised(moving=False)),
        net(IteratedOutside()),
    ],
    ids=["plain", "group", "instance", "layer", "weight norm", "learnt codebook", "iterated outside"],
)
def test_layers_that_keep_patients_apart_pass(module: nn.Module) -> None:
    assert_patients_isolated(module, squared, INPUTS)


def refusal_of(module: nn.Module, loss: Loss, inputs: Mapping[str, Tensor]) -> PolicyError:
    with pytest.raises(PolicyError, match="cannot be trained privately") as refusal:
        assert_patients_isolated(module, loss, inputs, opacus=False)
    assert "norm at most C" in refusal.value.fix
    return refusal.value


@pytest.mark.parametrize(
    ("module", "says", "because"),
    [
        (net(nn.BatchNorm2d(4)), "mean and variance over the batch", "(2P - 1) C"),
        (net(nn.SyncBatchNorm(4)), "mean and variance over the batch", "(2P - 1) C"),
        (net(nn.InstanceNorm2d(4, track_running_stats=True)), "running statistics", "without noise"),
        (net(MinibatchDeviation(), channels=5), "value over the whole batch", "vectors of all P patients"),
        (net(ZeroEnd()), "paired or blended", "up to 3C"),
        (net(Centred()), "no gradient shows it", "not its dependence on others"),
        (net(Running()), "buffers change with the examples", "a release of its own"),
        (net(Quantised(moving=True)), "a codebook moved by exponential averages", "Learn a codebook by its gradient"),
        (
            net(nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))),
            "power iteration",
            "number, which is private",
        ),
        (net(nn.Dropout(0.5)), "draws inside the loss", "one stream in the order of the batch"),
        (net(Bank()), "keeps what it saw", "enters the losses of all later ones"),
    ],
    ids=[
        "batch norm",
        "sync batch norm",
        "running instance norm",
        "minibatch deviation",
        "hidden by zeros",
        "detached mean",
        "buffer",
        "codebook average",
        "spectral norm",
        "dropout",
        "memory bank",
    ],
)
def test_layers_that_mix_patients_are_refused_with_their_mathematics(
    module: nn.Module, says: str, because: str
) -> None:
    refusal = refusal_of(module, squared, INPUTS)
    assert says in refusal.message
    assert because in refusal.fix


def test_the_validator_of_opacus_finds_batch_norm_and_misses_the_minibatch_deviation() -> None:
    assert opacus_problems(net(nn.BatchNorm2d(4)))
    assert not opacus_problems(net(MinibatchDeviation(), channels=5))
    assert not layer_problems(net(MinibatchDeviation(), channels=5))


def scores(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,)."""
    return forward(inputs["images"])[:, 0]


def info_nce(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Each image against its noisy view, with all other views as negatives."""
    one = forward(inputs["images"])
    two = forward(inputs["images"] + inputs["noise"])
    return -torch.log_softmax(-(torch.cdist(one, two) ** 2), dim=1).diagonal()


def relativistic(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Each real image against the next one's score."""
    out = scores(forward, inputs)
    return nn.functional.softplus(out.roll(1) - out)


def relativistic_average(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Each real image against the mean score of the batch."""
    out = scores(forward, inputs)
    return nn.functional.softplus(out.mean() - out)


def mixup(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Blends every image with another one."""
    images = inputs["images"]
    mixed = 0.7 * images + 0.3 * images.flip(0)
    return forward(mixed)[:, 0] ** 2


def normalised(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Divides by the batch's sum."""
    out = scores(forward, inputs)
    return out**2 / (out**2).sum()


def divided(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Divides by the number of examples."""
    return scores(forward, inputs) ** 2 / len(inputs["images"])


def noised_by_place(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Adds noise of a fixed seed: the same in every call, another in another place."""
    images = inputs["images"]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return forward(images + noise)[:, 0] ** 2


def balanced(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Weighs a class by how rare it is in the batch."""
    labels = inputs["labels"]
    return scores(forward, inputs) ** 2 / torch.bincount(labels, minlength=3)[labels]


def in_fours(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Needs groups of four."""
    return (scores(forward, inputs).detach().reshape(-1, 4) ** 2).reshape(-1) + scores(forward, inputs)


def mean(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """One number for all."""
    return (scores(forward, inputs) ** 2).mean()


def infinite(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Undefined for negative scores, as ordinary inputs give."""
    return scores(forward, inputs).abs().neg().log()


WITH_LABELS = {
    "images": torch.zeros(4, 1, 6, 6),
    "noise": torch.zeros(4, 1, 6, 6),
    "labels": torch.tensor([0, 0, 1, 2]),
}


@pytest.mark.parametrize(
    ("loss", "says", "because"),
    [
        (info_nce, "the loss compares the examples", "a negative or a term in the denominator"),
        (relativistic, "paired or blended", "a term out of the partner's vector"),
        (relativistic_average, "the loss compares the examples", "(2P - 1) C"),
        (mixup, "mixup", "a term out of the partner's vector"),
        (normalised, "the loss compares the examples", "(2P - 1) C"),
        (balanced, "counts of labels", "not its dependence on others"),
        (divided, "by how many they are", "How many patients were drawn is private"),
        (noised_by_place, "by their places", "draw for each patient on its own"),
        (in_fours, "cannot be computed when some examples are taken out", "mixes those in a group"),
        (mean, "one number an example", "cannot be clipped by patient"),
        (infinite, "not finite", "to zero"),
    ],
)
def test_losses_that_mix_patients_are_refused_with_their_mathematics(loss: Loss, says: str, because: str) -> None:
    refusal = refusal_of(net(), loss, WITH_LABELS)
    assert says in refusal.message
    assert because in refusal.fix


def against_generated(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """A relativistic pair of one real image and one generated for it."""
    return nn.functional.softplus(forward(inputs["noise"])[:, 0] - scores(forward, inputs))


def penalised(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """R1: the squared gradient of the critic at each image, a function of that image alone."""
    images = inputs["images"]
    (slope,) = torch.autograd.grad(scores(forward, inputs).sum(), images, create_graph=True)
    return scores(forward, inputs) + slope.square().flatten(1).sum(dim=1)


def by_class(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
    """Another weight for each class."""
    return scores(forward, inputs) ** 2 * (1 + inputs["labels"])


@pytest.mark.parametrize("loss", [against_generated, penalised, by_class])
def test_losses_of_one_patient_alone_pass(loss: Loss) -> None:
    assert_patients_isolated(net(), loss, WITH_LABELS, opacus=False)


def test_inputs_without_any_float_are_tried_too() -> None:
    module = nn.Embedding(3, 1)
    labels = {"labels": torch.tensor([0, 1, 2, 1])}
    assert_patients_isolated(module, lambda forward, inputs: forward(inputs["labels"])[:, 0] ** 2, labels)

    def relative(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
        out = forward(inputs["labels"])[:, 0]
        return (out - out.mean()) ** 2

    assert "changing other examples" in refusal_of(module, relative, labels).message


def test_noise_levels_keep_their_sign_in_the_trial() -> None:
    def loss(forward: Forward, inputs: Mapping[str, Tensor]) -> Tensor:
        assert bool((inputs["sigma"] > 0).all())
        return scores(forward, inputs) ** 2 * inputs["sigma"].log()

    assert_patients_isolated(net(), loss, {**INPUTS, "sigma": torch.ones(4)}, opacus=False)


def test_the_trial_leaves_mode_and_buffers_as_they_were() -> None:
    module = net(Running()).eval()
    with pytest.raises(PolicyError):
        assert_patients_isolated(module, squared, INPUTS, opacus=False)
    assert not module.training
    assert all(float(value) == 0 for value in module.buffers())


def test_one_example_cannot_show_anything() -> None:
    with pytest.raises(ValueError, match="two examples"):
        assert_patients_isolated(net(), squared, {"images": torch.zeros(1, 1, 6, 6)})


def test_every_cause_says_what_was_seen_and_why_it_is_refused() -> None:
    assert all(len(cause.what) > 30 and len(cause.mathematics) > 50 for cause in Cause)
