"""Networks: a unit vector for every pixel of an image of any size, shares that sum to one, images kept apart."""

from __future__ import annotations

import pytest
import torch

from synthrelease.features.uld import networks
from synthrelease.features.uld.networks import EmbeddingNetwork, shares_of
from synthrelease.features.uld.recipe import Recipe

TINY = (4, 8, 8)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (16, 16), (28, 28), (30, 45), (65, 33)])
def test_every_pixel_gets_a_unit_vector_whatever_the_size(height, width):
    found = EmbeddingNetwork(TINY)(noise(2, 1, height, width))
    assert found.shape == (2, 32, height, width)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, height, width))


def test_the_published_network_has_its_published_size_and_sixteen_clusters():
    weights = sum(p.numel() for p in EmbeddingNetwork(**networks.paper(0).settings).parameters())
    assert weights == pytest.approx(1.43e6, rel=0.01)
    assert networks.paper().clusters == 16
    assert [m.shape[1] for m in networks.paper(0).eval().stages(noise(1, 1, 32, 32))] == [16, 32, 64, 128, 128]


def test_shares_sum_to_one_and_both_heads_read_one_map():
    network = networks.small(clusters=5)
    images = noise(2, 1, 24, 24)
    embedding, shares = network.assign(images)
    assert shares.shape == (2, 5, 24, 24)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 24, 24))
    torch.testing.assert_close(embedding, network(images))


def test_sigmoid_and_sum_are_not_softmax_and_vanishing_sigmoids_give_equal_shares():
    raw = torch.tensor([[2.0, 0.0, -1.0]]).view(1, 3, 1, 1)
    assert not torch.allclose(shares_of(raw), raw.softmax(dim=1), atol=0.02)
    assert shares_of(torch.full((1, 4, 1, 1), -200.0)).flatten().tolist() == pytest.approx([0.25] * 4)


def test_a_network_without_clustering_head_says_so():
    with pytest.raises(ValueError, match="no clustering head"):
        networks.small().assign(noise(1, 1, 16, 16))


def test_a_network_begins_alike_with_a_clustering_head_and_without_one():
    with_head, without = Recipe(region_steps=1, clusters=5).build(), Recipe().build()
    begun = with_head.state_dict()
    assert all(torch.equal(begun[name], tensor) for name, tensor in without.state_dict().items())
    assert with_head.clustering is not None
    assert not torch.equal(with_head.clustering[0].weight[:5], with_head.head[0].weight[:5])


def test_group_normalisation_keeps_images_of_a_batch_apart_and_batch_normalisation_does_not():
    one, other = noise(1, 1, 16, 16), noise(1, 1, 16, 16, seed=1)
    apart, mixing = EmbeddingNetwork(TINY).train(), EmbeddingNetwork(TINY, norm="batch").train()
    torch.testing.assert_close(apart(torch.cat([one, other]))[:1], apart(one), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixing(torch.cat([one, other]))[:1], mixing(one), atol=1e-2)


def test_three_stages_leave_a_28_px_image_seven_pixels_at_the_bottom():
    assert EmbeddingNetwork(TINY).stages(noise(1, 1, 28, 28))[-1].shape[-2:] == (7, 7)


def test_too_small_or_coloured_images_are_refused():
    for shape in ((1, 1, 15, 64), (1, 3, 64, 64), (64, 64)):
        with pytest.raises(ValueError, match="at least 16"):
            networks.small()(noise(*shape))


@pytest.mark.parametrize(
    "wrong", [{"widths": (8,)}, {"widths": TINY, "clusters": -1}, {"widths": TINY, "norm": "layer"}]
)
def test_shapes_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(ValueError, match="no network has"):
        EmbeddingNetwork(**wrong)
