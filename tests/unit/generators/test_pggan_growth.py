"""Growing: which scale when, and real images as they look at it."""

from __future__ import annotations

import pytest
import torch

from synthrelease.generators.pggan.growth import Stage, at_stage, doubled, halved, scales, stage_at


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        (28, (7, 14, 28)),
        (32, (4, 8, 16, 32)),
        (48, (6, 12, 24, 48)),
        (33, (33,)),
        (1024, (4, 8, 16, 32, 64, 128, 256, 512, 1024)),
    ],
)
def test_scales_halve_as_long_as_they_are_even(resolution: int, expected: tuple[int, ...]) -> None:
    assert scales(resolution) == expected


def test_each_scale_gets_half_as_many_steps_again_as_the_one_before() -> None:
    levels = [stage_at(step / 1300, 4, 0.5).level for step in range(1300)]
    assert [levels.count(level) for level in range(4)] == [160, 240, 360, 540]


def test_a_scale_is_faded_in_for_its_share_and_then_stands_alone() -> None:
    stages = [stage_at(step / 1300, 4, 0.25) for step in range(1300)]
    fading = [stage for stage in stages if stage.blend < 1.0]
    assert [sum(stage.level == level for stage in fading) for level in range(4)] == [0, 60, 90, 135]
    blends = [stage.blend for stage in fading if stage.level == 3]
    assert blends == sorted(blends)
    assert 0.0 < blends[0] < 0.01
    assert blends[-1] > 0.99


@pytest.mark.parametrize("fade_share", [0.0, 0.5, 1.0])
def test_the_end_of_growing_is_the_last_scale_alone(fade_share: float) -> None:
    assert stage_at(1.0, 4, fade_share) == Stage(3)
    assert stage_at(0.0, 4, fade_share) == Stage(0)


def test_without_fading_every_scale_stands_alone_at_once() -> None:
    assert all(stage_at(step / 100, 3, 0.0).blend == 1.0 for step in range(101))


def test_one_scale_alone_never_fades() -> None:
    assert {stage_at(step / 10, 1, 1.0) for step in range(11)} == {Stage(0)}


def test_halving_takes_the_mean_and_undoes_doubling() -> None:
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(halved(doubled(x)), x)
    torch.testing.assert_close(halved(x).mean(), x.mean())


def test_real_pictures_are_shrunken_by_means_and_blended_with_the_scale_before() -> None:
    x = torch.randn(2, 2, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(at_stage(x, Stage(2), 3), x)
    torch.testing.assert_close(at_stage(x, Stage(0), 3), halved(halved(x)))
    blended = at_stage(x, Stage(1, 0.25), 3)
    torch.testing.assert_close(blended, 0.25 * halved(x) + 0.75 * doubled(halved(halved(x))))
