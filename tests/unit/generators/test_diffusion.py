"""The diffusion generator: EDM's identities, isolation of examples, per-example gradients, determinism."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dctn
from torch.func import functional_call, grad, vmap

from synthrelease.errors import IntegrityError
from synthrelease.generators.diffusion import precondition
from synthrelease.generators.diffusion.model import DiffusionGenerator, draw, loss
from synthrelease.generators.diffusion.network import depth_to_space, place_waves, space_to_depth
from synthrelease.generators.diffusion.sampler import heun
from synthrelease.generators.protocol import Batch, Spec
from synthrelease.policy.generators import DiffusionGenerator as Settings


def settings(**changes: int) -> Settings:
    return Settings(name="diffusion", **{"width": 8, "sampler_steps": 3, **changes})


def batch(spec: Spec, size: int = 4, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    shape = (size, spec.segments, spec.resolution, spec.resolution)
    return Batch(
        images=torch.rand(size, 1, *shape[2:], generator=rng) * 2 - 1,
        masks=torch.rand(shape, generator=rng),
        labels=torch.randint(spec.classes, (size,), generator=rng),
    )


def awake(spec: Spec) -> DiffusionGenerator:
    """A generator whose zero-started layers are moved, so that every path carries signal."""
    generator = DiffusionGenerator(spec, settings())
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in generator.denoiser.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return generator


SMALL = Spec(resolution=16, classes=3, segments=1)


def test_a_flat_spectrum_gives_the_coefficients_of_edm() -> None:
    sigma = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0])
    data, level = precondition.SIGMA_DATA**2, sigma**2
    flat = torch.full((1, 8, 8), data)
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    skip = precondition.wiener(x, sigma, precondition.cosines(8), flat)
    torch.testing.assert_close(skip, (data / (data + level))[:, None, None, None] * x)
    torch.testing.assert_close(precondition.out_scale(sigma, flat)[:, 0], sigma * data**0.5 / (level + data).sqrt())
    torch.testing.assert_close(precondition.in_scale(sigma) ** 2 * (data + level), torch.ones_like(sigma))


def test_cosines_are_orthonormal_and_agree_with_scipy() -> None:
    waves = precondition.cosines(28)
    x = torch.randn(28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(waves @ waves.T, torch.eye(28), atol=1e-5, rtol=0)
    torch.testing.assert_close(waves @ x @ waves.T, torch.from_numpy(dctn(x.numpy(), norm="ortho")), atol=1e-4, rtol=0)


def test_an_untrained_denoiser_is_the_best_one_for_the_public_spectrum() -> None:
    generator = DiffusionGenerator(SMALL, settings())
    waves, power = precondition.cosines(16), precondition.spectrum(16, 1)
    rng = torch.Generator().manual_seed(0)
    clean = waves.T @ (power.sqrt() * torch.randn(400, 2, 16, 16, generator=rng)) @ waves
    sigma = torch.full((400,), 0.3)
    inputs = {
        "clean": clean,
        "noise": torch.randn(clean.shape, generator=rng),
        "sigma": sigma,
        "labels": torch.zeros(400, dtype=torch.int64),
    }
    with torch.no_grad():
        assert loss(generator.denoiser, inputs).mean().item() == pytest.approx(1.0, abs=0.03)


def test_spectrum_keeps_its_contrast_at_any_resolution() -> None:
    rms = [precondition.spectrum(size, 1).mean(dim=(1, 2)).sqrt() for size in (16, 64)]
    torch.testing.assert_close(rms[0], rms[1], atol=0, rtol=0.1)
    torch.testing.assert_close(rms[1][1], 1.5 * rms[1][0])


def test_without_noise_the_picture_is_kept() -> None:
    generator = awake(SMALL)
    picture = batch(SMALL).images.repeat(1, 2, 1, 1)
    kept = generator.denoiser(picture, torch.full((4,), 1e-5), torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(kept, picture, atol=1e-3, rtol=0)


def test_sampling_levels_fall_to_zero() -> None:
    levels = precondition.sampling_sigmas(18)
    assert levels[0] == pytest.approx(precondition.SIGMA_MAX)
    assert levels[-2] == pytest.approx(precondition.SIGMA_MIN)
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()


def test_heun_brings_back_the_spread_of_a_gaussian() -> None:
    spread = 0.3

    def ideal(noisy: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        level = sigma[:, None, None, None] ** 2
        return noisy * spread**2 / (spread**2 + level)

    start = torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    done = heun(ideal, start, torch.zeros(50, dtype=torch.int64), 40)
    assert done.std().item() == pytest.approx(spread, rel=0.02)


def test_place_waves_tell_every_pixel_apart() -> None:
    places = place_waves(8, 4)
    assert places.shape == (15, 8, 8)
    assert places.abs().max() <= 1.0
    codes = places.flatten(1).T
    assert torch.cdist(codes, codes).add(torch.eye(64)).min() > 0.1


def test_space_to_depth_is_undone() -> None:
    x = torch.randn(2, 3, 8, 8)
    folded = space_to_depth(x, 4)
    assert folded.shape == (2, 48, 2, 2)
    assert torch.equal(depth_to_space(folded, 4), x)


def test_a_loss_reads_its_own_example_only() -> None:
    generator = awake(SMALL)
    inputs = draw(batch(SMALL), torch.Generator().manual_seed(1))
    clean = inputs["clean"].clone().requires_grad_()
    losses = loss(generator.denoiser.train(), {**inputs, "clean": clean})
    assert losses.shape == (4,)
    for row in range(4):
        (slope,) = torch.autograd.grad(losses[row], clean, retain_graph=True)
        lengths = slope.flatten(1).norm(dim=1)
        assert lengths[row] > 0
        assert lengths[torch.arange(4) != row].max() == 0


@pytest.mark.parametrize("spec", [SMALL, Spec(resolution=28, classes=2, segments=0)])
def test_per_example_gradients_by_vmap_equal_a_loop(spec: Spec) -> None:
    player = awake(spec).players()[0]
    inputs = player.draw(batch(spec, 3), torch.Generator().manual_seed(1))
    weights = {name: value.detach() for name, value in player.module.named_parameters()}

    def one(values: dict[str, torch.Tensor], row: dict[str, torch.Tensor]) -> torch.Tensor:
        single = {name: tensor[None] for name, tensor in row.items()}
        return player.loss(lambda *args: functional_call(player.module, values, args), single)[0]

    together = vmap(grad(one), in_dims=(None, 0))(weights, inputs)
    for row in range(3):
        alone = grad(one)(weights, {name: tensor[row] for name, tensor in inputs.items()})
        for name, value in alone.items():
            torch.testing.assert_close(together[name][row], value, atol=1e-4, rtol=1e-3)


def test_every_weight_is_trained() -> None:
    generator = awake(SMALL)
    loss(generator.denoiser, draw(batch(SMALL, 8), torch.Generator().manual_seed(1))).mean().backward()
    for name, parameter in generator.denoiser.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_loss_falls_on_a_tiny_set() -> None:
    generator = DiffusionGenerator(SMALL, settings(width=16))
    flat = Batch(torch.full((8, 1, 16, 16), 0.5), torch.ones(8, 1, 16, 16), torch.zeros(8, dtype=torch.int64))
    optimiser = torch.optim.Adam(generator.denoiser.parameters(), 3e-3)
    rng = torch.Generator().manual_seed(0)
    history = []
    for _ in range(60):
        value = loss(generator.denoiser, draw(flat, rng)).mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        history.append(value.item())
    assert sum(history[-10:]) < 0.5 * sum(history[:10])


@pytest.mark.parametrize("resolution", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("segments", [0, 2])
def test_samples_have_the_shape_of_the_spec(resolution: int, segments: int) -> None:
    spec = Spec(resolution=resolution, classes=2, segments=segments)
    drawn = DiffusionGenerator(spec, settings()).sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert drawn.images.shape == (2, 1, resolution, resolution)
    assert drawn.masks.shape == (2, segments, resolution, resolution)
    assert drawn.images.abs().max() <= 1.0
    assert drawn.images.requires_grad is False
    if segments:
        assert drawn.masks.min() >= 0.0
        assert drawn.masks.max() <= 1.0


def test_equal_random_state_gives_equal_bits_and_leaves_the_global_one() -> None:
    before = torch.get_rng_state()
    first, second = (
        DiffusionGenerator(SMALL, settings()).sample(torch.tensor([0, 1, 2]), torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.masks, second.masks)
    assert torch.equal(before, torch.get_rng_state())


def test_another_seed_starts_from_other_weights() -> None:
    one, other = (DiffusionGenerator(SMALL, settings(seed=seed)).state() for seed in (0, 1))
    assert not torch.equal(one["network.stem.weight"], other["network.stem.weight"])


def test_class_changes_the_sample() -> None:
    generator = awake(SMALL)
    first, second = (generator.sample(torch.tensor([c]), torch.Generator().manual_seed(0)) for c in (0, 1))
    assert not torch.equal(first.images, second.images)


def test_weights_of_another_width_are_refused() -> None:
    state = DiffusionGenerator(SMALL, settings()).state()
    with pytest.raises(IntegrityError, match="do not fit the network"):
        DiffusionGenerator.from_state(SMALL, settings(width=16), state)
