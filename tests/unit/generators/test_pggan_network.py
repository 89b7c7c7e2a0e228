"""Generator and critic networks of the progressive GAN: sizes, growth, scale of weights, norms."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from synthrelease.generators.layers import rectified
from synthrelease.generators.pggan.critic import Critic, group_spread
from synthrelease.generators.pggan.growth import Stage, doubled, halved
from synthrelease.generators.pggan.network import MASK_REACH, End, Equalised, Painter, pixel_norm, width_at


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def painter(resolution: int = 16, width: int = 16) -> Painter:
    torch.manual_seed(1)
    return Painter(latent=8, channels=2, resolution=resolution, width=width)


def critic(resolution: int = 16, width: int = 16, *, batch_spread: bool = False) -> Critic:
    torch.manual_seed(2)
    return Critic(2, resolution, width, batch_spread=batch_spread)


@pytest.mark.parametrize(("resolution", "sizes"), [(16, (4, 8, 16)), (28, (7, 14, 28))])
def test_pictures_have_the_size_of_the_stage_and_the_critic_reads_them(resolution: int, sizes: tuple[int, ...]) -> None:
    makes, judges = painter(resolution), critic(resolution)
    for level, size in enumerate(sizes):
        for blend in (0.5, 1.0) if level else (1.0,):
            makes.grow(Stage(level, blend))
            judges.grow(Stage(level, blend))
            pictures = makes(torch.randn(3, 8, generator=rng()))
            assert pictures.shape == (3, 2, size, size)
            assert judges(pictures).shape == (3,)


def test_a_network_grows_to_1024_pixels_and_narrows_on_the_way() -> None:
    makes, judges = painter(1024, 32), critic(1024, 32)
    assert [width_at(size, 32) for size in makes.sizes] == [32, 32, 32, 16, 16, 16, 16, 16, 16]
    with torch.no_grad():
        pictures = makes(torch.randn(1, 8, generator=rng()))
        assert pictures.shape == (1, 2, 1024, 1024)
        assert judges(pictures).shape == (1,)


def test_a_new_scale_without_weight_is_the_scale_before_doubled() -> None:
    makes, judges, z = painter(), critic(), torch.randn(3, 8, generator=rng())
    makes.grow(Stage(1))
    judges.grow(Stage(1))
    before = makes(z)
    score = judges(before)
    makes.grow(Stage(2, 0.0))
    judges.grow(Stage(2, 0.0))
    torch.testing.assert_close(makes(z), doubled(before))
    torch.testing.assert_close(judges(doubled(before)), score)


def test_at_the_end_of_fading_nothing_jumps() -> None:
    makes, judges, z = painter(), critic(), torch.randn(3, 8, generator=rng())
    makes.grow(Stage(2))
    judges.grow(Stage(2))
    alone = makes(z)
    score = judges(alone)
    makes.grow(Stage(2, 1.0 - 1e-6))
    judges.grow(Stage(2, 1.0 - 1e-6))
    torch.testing.assert_close(makes(z), alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(judges(alone), score, atol=1e-4, rtol=0)


def test_only_parameters_in_use_ask_for_a_gradient() -> None:
    makes, judges = painter(), critic()
    assert all(p.requires_grad for p in makes.blocks.parameters())
    for stage in (Stage(0), Stage(1, 0.5), Stage(1), Stage(2, 0.3), Stage(2)):
        for network in (makes, judges):
            network.grow(stage)
            network.zero_grad(set_to_none=True)
        judges(makes(torch.randn(2, 8, generator=rng()))).sum().backward()
        for network in (makes, judges):
            for name, p in network.named_parameters():
                assert (p.grad is not None) == p.requires_grad, (stage, name)


def test_growing_tells_when_parameters_join_or_leave() -> None:
    network = critic()
    stages = [Stage(0), Stage(0), Stage(1, 0.1), Stage(1, 0.2), Stage(1), Stage(1), Stage(2, 0.5), Stage(2)]
    assert [network.grow(stage) for stage in stages] == [True, False, True, False, True, False, True, True]


def test_a_fresh_network_is_fully_grown() -> None:
    network = painter()
    unused = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert network.stage == Stage(2)
    assert not network.grow(Stage(2))
    assert unused == {name for name, p in network.named_parameters() if not p.requires_grad}
    kinds = [f"{part}.layer.{kind}" for part in ("image", "masks") for kind in ("weight", "bias")]
    assert unused == {f"ends.{level}.{kind}" for level in (0, 1) for kind in kinds}


@pytest.mark.parametrize("layer", [nn.Conv2d(32, 64, 3, padding=1), nn.Conv2d(48, 64, 1), nn.Linear(64, 128)])
def test_equalised_layers_keep_the_size_of_what_passes(layer: nn.Conv2d | nn.Linear) -> None:
    torch.manual_seed(0)
    equalised = Equalised(layer, 1.0)
    shape = (64, 32, 12, 12) if layer.weight.shape[-1] == 3 else (64, 48, 8, 8) if layer.weight.ndim == 4 else (64, 64)
    out = equalised(torch.randn(shape, generator=rng(5)))
    inner = out[..., 1:-1, 1:-1] if out.ndim == 4 else out
    assert inner.std().item() == pytest.approx(1.0, rel=0.08)
    assert equalised.layer.weight.std().item() == pytest.approx(1.0, rel=0.08)


def passing(network: Painter | Critic, inputs: Tensor, ends: tuple[str, ...], sizes: dict[str, list[float]]) -> None:
    """Add for each equalised layer, at every stage that uses it, the mean square of what comes out over what goes in.

    Args:
        network: At birth.
        inputs: Latents, or pictures of size one everywhere.
        ends: Beginnings of the names of layers that no rectifier follows; of others what it lets through counts.
        sizes: Added to.
    """

    def hooked(name: str, module: Equalised, read: tuple[Tensor, ...], made: Tensor) -> None:
        out = made if name.startswith(ends) else rectified(made)
        if isinstance(module.layer, nn.Conv2d) and module.layer.padding == (1, 1):
            out = out[..., 1:-1, 1:-1]  # at the border it reads zeros
        sizes[name].append(out.square().mean().item() / read[0].square().mean().item())

    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, Equalised)}
    for name, layer in layers.items():
        layer.register_forward_hook(partial(hooked, name))
    for level, side in enumerate(network.sizes):
        network.grow(Stage(level))
        network(inputs if inputs.ndim == 2 else inputs[..., :side, :side])
    assert set(sizes) == set(layers)


@pytest.mark.parametrize("kind", ["generator", "critic"])
def test_every_layer_of_both_networks_keeps_the_size_of_what_passes_at_birth(kind: str) -> None:
    """Over many births: a layer that gives one number gives it any size."""
    sizes: dict[str, list[float]] = defaultdict(list)
    for seed in range(60):
        torch.manual_seed(seed)
        if kind == "generator":
            passing(Painter(8, 3, 16, 16), torch.randn(8, 8, generator=rng(seed)), ("ends",), sizes)
        else:
            critic = Critic(3, 16, 16, batch_spread=False)
            passing(critic, torch.randn(8, 3, 16, 16, generator=rng(seed)), ("score",), sizes)
    kept = {name: (sum(each) / len(each)) ** 0.5 for name, each in sizes.items()}
    # The first layer is followed by a norm, which undoes its size; a quarter of it makes the layer slower.
    assert 4.0 * kept.pop("start", 0.25) == pytest.approx(1.0, abs=0.2)
    assert {name: size for name, size in kept.items() if not 0.85 < size < 1.2} == {}


def test_the_bias_is_not_scaled() -> None:
    equalised = Equalised(nn.Linear(100, 3))
    nn.init.constant_(equalised.layer.bias, 0.7)
    torch.testing.assert_close(equalised(torch.zeros(2, 100)), torch.full((2, 3), 0.7))


def test_pictures_and_scores_start_at_the_size_of_one() -> None:
    pictures = painter(32, 64)(torch.randn(32, 8, generator=rng()))
    scores = critic(32, 64)(torch.randn(64, 2, 1, 1, generator=rng()).expand(-1, -1, 32, 32))
    assert 0.5 < pictures.std().item() < 2.0
    assert 0.1 < scores.square().mean().sqrt().item() < 3.0


def test_pixel_norm_leaves_channels_of_root_mean_square_one() -> None:
    normed = pixel_norm(5.0 * torch.randn(2, 16, 4, 4, generator=rng()))
    torch.testing.assert_close(normed.square().mean(dim=1), torch.ones(2, 4, 4))


@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_the_length_of_a_latent_does_not_matter(factor: float) -> None:
    makes, z = painter(), torch.randn(4, 8, generator=rng())
    torch.testing.assert_close(makes(factor * z), makes(z), atol=1e-5, rtol=0)


def test_group_spread_is_the_deviation_within_groups_of_four() -> None:
    x = torch.randn(8, 3, 4, 4, generator=rng())
    found = group_spread(x)
    for group in range(2):
        rows = [group, group + 2, group + 4, group + 6]
        expected = x[rows].std(dim=0, correction=0).mean()
        torch.testing.assert_close(found[rows], expected.expand(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_group_spread_takes_any_number_of_pictures(size: int) -> None:
    assert group_spread(torch.randn(size, 3, 4, 4, generator=rng())).shape == (size,)


def test_the_spread_of_a_batch_counts_in_training_alone() -> None:
    judges, x = critic(batch_spread=True), torch.randn(4, 2, 16, 16, generator=rng())
    other = torch.cat([x[:1], torch.randn(3, 2, 16, 16, generator=rng(1)) * 3])
    judges.train()
    assert (judges(x)[0] - judges(other)[0]).abs() > 1e-4
    judges.eval()
    torch.testing.assert_close(judges(x)[0], judges(other)[0])


def test_without_the_spread_a_score_is_the_pictures_own() -> None:
    judges, x = critic(), torch.randn(4, 2, 16, 16, generator=rng())
    torch.testing.assert_close(judges(x)[:1], judges(x[:1]))


def test_halves_of_a_fade_mix_linearly_in_the_generator() -> None:
    makes, z = painter(), torch.randn(2, 8, generator=rng())
    ends = []
    for blend in (0.0, 0.4, 1.0):
        makes.grow(Stage(2, blend))
        ends.append(makes(z))
    torch.testing.assert_close(ends[1], 0.6 * ends[0] + 0.4 * ends[2])
    torch.testing.assert_close(halved(ends[0]), ends[0][..., ::2, ::2])


def test_the_image_does_not_see_how_strong_the_features_of_its_masks_are() -> None:
    """Where a mask has its border its features vanish; the image's must not be raised there."""
    end, features = End(16, 2), torch.randn(2, 16, 4, 4, generator=rng())
    vanishing = torch.cat([3.0 * features[:, :12], 0.0 * features[:, 12:]], dim=1)
    torch.testing.assert_close(end(vanishing)[:, :1], end(features)[:, :1], atol=1e-5, rtol=0)
    assert end(features)[:, 1:].abs().max() <= MASK_REACH
    assert End(16, 1)(features).shape == (2, 1, 4, 4)
