"""Training speed of the progressive GAN beside a DCGAN: both are what they are called, and of one size."""

from __future__ import annotations

import pytest
import torch

from benchmarks.pggan_lco import throughput


@pytest.mark.parametrize("side", [8, 32])
def test_the_dcgan_makes_and_judges_pictures_of_the_side(side: int) -> None:
    makes, judges = throughput.dcgan(side, 4)
    made = makes(torch.randn(2, throughput.LATENT, 1, 1))
    assert made.shape == (2, 2, side, side)
    assert judges(made).shape == (2,)


def test_both_contenders_are_of_one_size_and_step_their_networks() -> None:
    generator = throughput.progressive(16)
    size, ours = throughput.progressive_step(generator, 1)
    theirs_size, theirs = throughput.reference_step(8, size)
    assert theirs_size == pytest.approx(size, rel=0.15)
    before = {name: p.detach().clone() for name, p in generator.critic.named_parameters() if p.requires_grad}
    ours()
    theirs()
    assert all(not torch.equal(p, before[name]) for name, p in generator.critic.named_parameters() if name in before)


def test_the_page_tells_every_scale() -> None:
    row = {
        "side": 8,
        "parameters": 1000,
        "images_per_second": 20.0,
        "dcgan_parameters": 1100,
        "dcgan_images_per_second": 50.0,
        "seconds_over_dcgan": 2.5,
    }
    assert throughput.page({"batch": 16, "scales": [row]})[-1] == "| 8 px | 1,000 | 20 | 1,100 | 50 | 2.50 |"
    assert throughput.goals({}) == {}
