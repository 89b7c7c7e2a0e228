"""Every kind of layer gives the gradients that patients taken apart give."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from synthrelease.privacy.gradients import choice
from synthrelease.privacy.gradients.bookkeeping import BOOKS, book_kept
from synthrelease.privacy.gradients.layers import convolution
from synthrelease.privacy.gradients.vmapped import patient_gradients

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution 3x3": (lambda: nn.Conv2d(3, 5, 3, padding=1), (3, 8, 8)),
    "convolution 3x3 without padding": (lambda: nn.Conv2d(3, 5, 3), (3, 8, 7)),
    "convolution 3x3 stride 2": (lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 8, 8)),
    "convolution 4x4 stride 2": (lambda: nn.Conv2d(3, 5, 4, stride=2, padding=1), (3, 8, 8)),
    "convolution 4x4 stride 2, odd picture": (lambda: nn.Conv2d(3, 5, 4, stride=2, padding=1), (3, 9, 7)),
    "convolution 1x1": (lambda: nn.Conv2d(6, 4, 1), (6, 5, 5)),
    "convolution 5x3, unlike strides": (lambda: nn.Conv2d(2, 4, (5, 3), stride=(1, 3), padding=(2, 0)), (2, 7, 9)),
    "convolution same": (lambda: nn.Conv2d(2, 4, 3, padding="same"), (2, 6, 6)),
    "convolution valid": (lambda: nn.Conv2d(2, 4, 3, padding="valid"), (2, 6, 6)),
    "convolution in groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 6, 6)),
    "convolution dilated": (lambda: nn.Conv2d(2, 4, 3, padding=2, dilation=2), (2, 8, 8)),
    "convolution without bias": (lambda: nn.Conv2d(3, 5, 3, padding=1, bias=False), (3, 6, 6)),
    "many channels on a small picture": (lambda: nn.Conv2d(48, 64, 4, stride=2, padding=1), (48, 4, 4)),
    "transposed 2x2 stride 2": (lambda: nn.ConvTranspose2d(4, 3, 2, stride=2), (4, 5, 5)),
    "transposed 4x4 stride 2": (lambda: nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), (4, 4, 4)),
    "transposed with output padding": (
        lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
        (4, 4, 4),
    ),
    "transposed in groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 4, 4)),
    "linear": (lambda: nn.Linear(40, 30), (40,)),
    "linear on many positions": (lambda: nn.Linear(5, 4), (60, 5)),
    "linear without bias": (lambda: nn.Linear(7, 4, bias=False), (7,)),
    "group norm": (lambda: nn.GroupNorm(2, 6), (6, 5, 5)),
    "group norm on vectors": (lambda: nn.GroupNorm(2, 6), (6,)),
    "instance norm": (lambda: nn.InstanceNorm2d(3, affine=True), (3, 5, 5)),
    "layer norm": (lambda: nn.LayerNorm(9), (4, 9)),
    "layer norm over two axes": (lambda: nn.LayerNorm((4, 9)), (4, 9)),
}


def squares(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,) mean squares of outputs times what was asked for: every output element has its own gradient."""
    out = forward(inputs["x"])
    return ((out - inputs["target"].reshape(out.shape)) ** 2).flatten(1).mean(dim=1)


def patients(module: nn.Module, shape: tuple[int, ...], *, count: int = 5, rows: int = 3) -> dict[str, Tensor]:
    """Random patients for a layer."""
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(count, rows, *shape, generator=rng)
    out = module(x.flatten(0, 1))
    return {"x": x, "target": torch.randn(count, rows, *out.shape[1:], generator=rng)}


def assert_equal_to_apart(module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Norms and weighted sums are those of patients taken apart."""
    expected, losses = patient_gradients(module, squares, inputs)
    expected = expected.double()
    found = book_kept(module, squares, inputs)
    assert torch.allclose(found.losses, losses, rtol=1e-5)
    norms = expected.square().sum(dim=1)
    # Norms that are not taken from formed gradients are enlarged by what rounding may add; none is ever too small.
    assert bool((found.squared_norms >= norms * (1 - 3e-5)).all())
    assert bool((found.squared_norms <= norms * (1 + 1e-3)).all())
    weights = torch.tensor([0.0, 1.0, 0.3, 2.0, 0.01], dtype=torch.float64)
    close = 2e-6 * float(expected.abs().max()) * len(weights)
    assert torch.allclose(found.weighted_sum(weights), weights @ expected, rtol=1e-5, atol=close)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_the_gradients_of_patients_taken_apart(name: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    module = make()
    assert_equal_to_apart(module, patients(module, shape))


CONVOLUTIONS = [name for name in LAYERS if name.startswith(("convolution", "transposed", "many"))]


@pytest.mark.parametrize("way", ["grouped", "apart", "product", "gram"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_way_of_a_convolution_is_exact(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    module = make()
    taken: list[str] = []

    def choose(geometry: object, ways: tuple[str, ...], trial: object) -> str:
        taken.append(way if way in ways else ways[0])
        return taken[-1]

    monkeypatch.setattr(convolution, "cheapest", choose)
    # Inner products are left out where they cannot pay; here they are wanted wherever they are possible.
    monkeypatch.setattr(convolution, "GRAM_WORK", 1e9)
    assert_equal_to_apart(module, patients(module, shape))
    unfit = ("groups", "dilated", "3x3 stride 2", "5x3", "output padding")
    if way == "product":
        assert (taken == ["product"]) == (name == "convolution 1x1")
        return
    assert taken == [way] or (way == "gram" and any(word in name for word in unfit))


def test_an_embedding_gives_the_gradients_of_patients_taken_apart() -> None:
    for padding in (None, 1):
        module = nn.Embedding(4, 3, padding_idx=padding)
        x = torch.randint(4, (5, 3, 2), generator=torch.Generator().manual_seed(1))
        inputs = {"x": x, "target": torch.randn(5, 3, 2, 3, generator=torch.Generator().manual_seed(2))}
        assert_equal_to_apart(module, inputs)


def test_there_is_a_test_of_every_kind_of_layer() -> None:
    made = {type(make()) for make, _ in LAYERS.values()} | {nn.Embedding}
    assert made == {kind for kind, _ in BOOKS}


def test_only_the_weight_or_only_the_bias_can_be_trained() -> None:
    for frozen in ("weight", "bias"):
        for name in ("convolution 3x3", "linear", "group norm", "layer norm", "transposed 2x2 stride 2"):
            make, shape = LAYERS[name]
            module = make()
            getattr(module, frozen).requires_grad_(False)
            inputs = patients(module, shape)
            expected, _ = patient_gradients(module, squares, inputs)
            found = book_kept(module, squares, inputs).weighted_sum(torch.ones(5, dtype=torch.float64))
            assert torch.allclose(found, expected.double().sum(dim=0), rtol=1e-4, atol=1e-5)


def test_a_choice_is_made_once_for_a_shape_and_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    cost = {"slow": 9, "quick": 1}
    tried: list[str] = []

    def trial(way: str) -> None:
        tried.append(way)
        for _ in range(cost[way]):
            next(clock)

    monkeypatch.setattr(choice, "_now", lambda device: float(next(clock)))
    geometry = choice.Geometry("a test", (1,), (2,), torch.float32, torch.device("cpu"))
    assert choice.cheapest(geometry, ("slow", "quick"), trial) == "quick"
    assert tried == ["slow"] + ["quick"] * (choice.TRIES + 1)
    assert choice.cheapest(geometry, ("slow", "quick"), trial) == "quick"
    assert len(tried) == choice.TRIES + 2
    assert choice.cheapest(geometry, ("slow",), trial) == "slow"
