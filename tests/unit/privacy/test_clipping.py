"""One patient moves the clipped sum by at most C, whoever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from synthrelease.privacy.clipping import (
    ROWS_AT_ONCE,
    Backend,
    Target,
    clipped_gradient_sum,
    clipped_joint_sum,
    flat_size,
    patient_gradients,
    patients_at_once,
    put_gradient,
    trained,
)


class Net(nn.Module):
    """Convolution, group norm, embedding, transposed convolution, linear: the layers that generators use."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.label = nn.Embedding(3, 4)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.last = nn.Linear(2 * 16 * 16, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, 1, 8, 8), (N,) -> (N,)."""
        h = torch.nn.functional.silu(self.norm(self.first(images))) + self.label(labels)[:, :, None, None]
        out: Tensor = self.last(self.up(h).flatten(1))[:, 0]
        return out


def loss(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """(N,) squared errors."""
    return (forward(inputs["images"], inputs["labels"]) - inputs["target"]) ** 2


def network() -> Net:
    """The same net each time."""
    torch.manual_seed(1)
    return Net()


def draws(patients: int, rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Random patients."""
    rng = torch.Generator().manual_seed(seed)
    return {
        "images": torch.randn(patients, rows, 1, 8, 8, generator=rng),
        "labels": torch.randint(3, (patients, rows), generator=rng),
        "target": torch.randn(patients, rows, generator=rng),
    }


def blocks(inputs: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """Cut into blocks of patients."""
    total = len(inputs["images"])
    return [{n: v[i : i + size] for n, v in inputs.items()} for i in range(0, total, size)]


def naive(net: Net, inputs: dict[str, Tensor], clip_norm: float) -> Tensor:
    """One backward a patient, clipped, added."""
    total = torch.zeros(flat_size(net), dtype=torch.float64)
    for p in range(len(inputs["images"])):
        net.zero_grad()
        loss(net, {n: v[p] for n, v in inputs.items()}).mean().backward()
        g = torch.cat([q.grad.flatten() for q in trained(net).values() if q.grad is not None]).double()
        total += g * min(1.0, clip_norm / float(g.norm()))
    return total


BACKENDS: tuple[Backend, ...] = ("fast", "vmap", "opacus")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("clip_norm", [1e-3, 0.5, 1e6])
def test_the_clipped_sum_equals_one_backward_a_patient(clip_norm: float, backend: Backend) -> None:
    inputs = draws(11, 6)
    found, _ = clipped_gradient_sum(network(), loss, blocks(inputs, 4), clip_norm, block=4, backend=backend)
    expected = naive(network(), inputs, clip_norm)
    assert torch.allclose(torch.from_numpy(found.total), expected, rtol=0, atol=3e-6 * float(expected.norm()))
    assert found.patients == 11


def test_micro_batches_do_not_change_the_sum() -> None:
    inputs = draws(13, 3)
    one, _ = clipped_gradient_sum(network(), loss, blocks(inputs, 13), 0.5, block=13)
    many, _ = clipped_gradient_sum(network(), loss, blocks(inputs, 2), 0.5, block=2)
    assert torch.allclose(torch.from_numpy(one.total), torch.from_numpy(many.total), rtol=0, atol=1e-6)


def adversaries() -> dict[str, dict[str, Tensor]]:
    """Patients that break naive code."""
    cases = {
        name: draws(1, 6, seed=9)
        for name in ("nan pixel", "inf pixel", "extreme", "huge target", "constant", "rare class")
    }
    cases["nan pixel"]["images"][0, 2, 0, 3, 3] = float("nan")
    cases["inf pixel"]["images"][0, 0, 0, 0, 0] = float("inf")
    cases["extreme"]["images"] *= 1e18
    cases["huge target"]["target"][:] = 3e38
    cases["constant"]["images"][:] = 0
    cases["rare class"]["labels"][:] = 2
    return cases


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", list(adversaries()))
def test_one_adversarial_patient_moves_the_sum_by_at_most_the_clip_norm(name: str, backend: Backend) -> None:
    others, strange, C = draws(9, 6), adversaries()[name], 0.5
    both = {n: torch.cat([others[n][:4], strange[n], others[n][4:]]) for n in others}
    without, _ = clipped_gradient_sum(network(), loss, blocks(others, 4), C, block=4, backend=backend)
    with_it, _ = clipped_gradient_sum(network(), loss, blocks(both, 4), C, block=4, backend=backend)
    moved = float(torch.from_numpy(with_it.total - without.total).norm())
    assert moved <= C * (1 + 1e-5)
    assert torch.isfinite(torch.from_numpy(with_it.total)).all()


def test_two_hundred_neighbours_never_move_the_sum_by_more_than_the_clip_norm() -> None:
    C, worst = 0.5, 0.0
    for seed in range(20):
        inputs = draws(10, 2, seed=seed)
        inputs["target"] *= 10.0 ** (seed % 5 - 1)
        whole, _ = clipped_gradient_sum(network(), loss, blocks(inputs, 4), C, block=4)
        for p in range(10):
            rest = {n: torch.cat([v[:p], v[p + 1 :]]) for n, v in inputs.items()}
            part, _ = clipped_gradient_sum(network(), loss, blocks(rest, 4), C, block=4)
            worst = max(worst, float(torch.from_numpy(whole.total - part.total).norm()))
    assert 0.9 * C < worst <= C * (1 + 1e-5)


def test_a_patient_with_five_hundred_images_counts_as_one() -> None:
    inputs = draws(1, 500, seed=3)
    inputs["target"] *= 1e4
    found, _ = clipped_gradient_sum(network(), loss, [inputs], 0.5, block=1)
    assert float(torch.from_numpy(found.total).norm()) == pytest.approx(0.5)
    assert found.patients == 1


def test_a_patient_that_is_not_finite_is_counted_and_contributes_nothing() -> None:
    found, mean_loss = clipped_gradient_sum(network(), loss, [adversaries()["nan pixel"]], 0.5, block=4)
    assert found.refused == 1
    assert not found.total.any()
    assert mean_loss != mean_loss


def test_an_empty_draw_is_zero_and_not_an_error() -> None:
    found, _ = clipped_gradient_sum(network(), loss, [], 0.5, block=4)
    assert found.patients == 0
    assert found.total.shape == (flat_size(network()),)
    assert not found.total.any()


@pytest.fixture
def tf32_wanted() -> Iterator[None]:
    """A user who asked for TF32 everywhere."""
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.usefixtures("tf32_wanted")
def test_no_product_of_a_sum_is_rounded_to_tf32() -> None:
    seen: list[tuple[bool, bool]] = []

    def watched(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return loss(forward, inputs)

    clipped_gradient_sum(network(), watched, [draws(2, 2)], 0.5, block=2)
    assert set(seen) == {(False, False)}
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32


def test_a_block_is_never_cut_short() -> None:
    with pytest.raises(ValueError, match="more than"):
        clipped_gradient_sum(network(), loss, [draws(5, 2)], 0.5, block=4)


def test_randomness_inside_the_loss_is_refused() -> None:
    def noisy(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        return loss(forward, inputs) + torch.randn(len(inputs["target"]))

    with pytest.raises(RuntimeError, match="random"):
        clipped_gradient_sum(network(), noisy, [draws(2, 2)], 0.5, block=2, backend="vmap")


def test_a_gradient_penalty_is_private_too() -> None:
    def penalised(forward: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        def score(images: Tensor) -> Tensor:
            return forward(images, inputs["labels"]).sum()

        slope = torch.func.grad(score)(inputs["images"])
        return loss(forward, inputs) + slope.flatten(1).square().sum(dim=1)

    inputs = draws(4, 2)
    found, _ = clipped_gradient_sum(network(), penalised, [inputs], 1e6, block=4, backend="vmap")
    net = network()
    images = inputs["images"].flatten(0, 1).requires_grad_(True)
    flat = {n: v.flatten(0, 1) for n, v in inputs.items()} | {"images": images}
    (slope,) = torch.autograd.grad(net(images, flat["labels"]).sum(), images, create_graph=True)
    ((loss(net, flat) + slope.flatten(1).square().sum(dim=1)).sum() / 2).backward()
    expected = torch.cat([p.grad.flatten() for p in trained(net).values() if p.grad is not None]).double()
    assert torch.allclose(torch.from_numpy(found.total), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_networks_clipped_as_one_are_one_vector() -> None:
    first, second, C = network(), network(), 0.5
    with torch.no_grad():
        for p in second.parameters():
            p.mul_(0.5)
    inputs, others = draws(7, 2), draws(7, 2, seed=4)
    parts = list(zip(blocks(inputs, 4), blocks(others, 4), strict=True))
    found, losses = clipped_joint_sum([Target(first, loss), Target(second, loss, "vmap")], parts, C, block=4)
    whole = torch.cat([patient_gradients(first, loss, inputs)[0], patient_gradients(second, loss, others)[0]], dim=1)
    factors = C / whole.double().norm(dim=1).clamp(min=C)
    assert torch.allclose(torch.from_numpy(found.total), factors @ whole.double(), rtol=1e-4, atol=1e-6)
    assert found.patients == 7
    assert len(losses) == 2


def test_memory_stays_flat_by_the_size_of_a_block() -> None:
    assert patients_at_once(8) == ROWS_AT_ONCE // 8
    assert patients_at_once(1000) == 1


def test_a_flat_vector_goes_back_where_it_came_from() -> None:
    net = network()
    vector = torch.arange(flat_size(net), dtype=torch.float64)
    put_gradient(net, vector)
    assert torch.equal(
        torch.cat([p.grad.flatten() for p in trained(net).values() if p.grad is not None]), vector.float()
    )


def test_frozen_parameters_are_not_part_of_the_vector() -> None:
    net = network()
    net.label.weight.requires_grad_(False)
    found, _ = clipped_gradient_sum(net, loss, [draws(2, 2)], 0.5, block=2)
    assert len(found.total) == sum(p.numel() for p in network().parameters()) - 12
