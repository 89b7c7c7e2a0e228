"""A generator that learnt its images by heart is found by its own scores; one that never saw them is not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.membership_model import MembershipModel
from synthrelease.audit.images import ImageSet
from synthrelease.generators.diffusion.model import DiffusionGenerator
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.protocol import Batch, Player, Spec
from synthrelease.policy.schema import DiffusionGenerator as DiffusionSettings
from synthrelease.policy.schema import MomentsGenerator as MomentsSettings
from synthrelease.workflow.scoring import scorer_of

SIDE = 16
SPEC = Spec(resolution=SIDE, classes=1, segments=0)


def patients(seed, count, first=0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(count, 1, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    return ImageSet(
        np.clip(0.4 * pixels, -1, 1).astype(np.float32),
        np.zeros((count, 0, SIDE, SIDE), np.float32),
        np.zeros(count, np.int64),
        np.arange(first, first + count),
    )


@pytest.fixture(scope="module")
def sides():
    return patients(0, 60), patients(1, 60, 60)


def learnt_by_heart(train):
    """A small denoiser stepped on few images until it knows them."""
    generator = DiffusionGenerator(SPEC, DiffusionSettings(name="diffusion", width=16))
    player = generator.players()[0]
    optimiser = torch.optim.Adam(player.module.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(0)
    batch = Batch(torch.from_numpy(train.images), torch.from_numpy(train.masks), torch.from_numpy(train.labels))
    for _ in range(150):
        optimiser.zero_grad()
        player.loss(player.module, player.draw(batch, rng)).mean().backward()
        optimiser.step()
    return generator


def auc(members, others):
    return float(np.mean(members[:, None] > others[None, :]))


def test_a_diffusion_that_learnt_few_images_by_heart_tells_them(sides):
    train, held = sides
    scorer = scorer_of(learnt_by_heart(train))
    ours, theirs = scorer(train), scorer(held)
    assert max(auc(ours[name], theirs[name]) for name in ours) > 0.9
    assert max(auc(ours[n], theirs[n]) for n in ours if n.startswith("denoising")) > 0.8
    case = AuditCase(train, held, patients(2, 80, 200), ("a",), (), scorer=scorer)
    found = MembershipModel().measure(case, np.random.default_rng(0))
    assert found.statistic.low > 0.2


def test_a_diffusion_that_never_saw_anybody_tells_nobody(sides):
    train, held = sides
    generator = DiffusionGenerator(SPEC, DiffusionSettings(name="diffusion", width=16))
    case = AuditCase(train, held, patients(2, 80, 200), ("a",), (), scorer=scorer_of(generator))
    found = MembershipModel().measure(case, np.random.default_rng(0))
    assert found.excess.p(0.2) > 0.05


def test_equal_images_get_equal_scores_wherever_they_stand(sides):
    train, _ = sides
    scorer = scorer_of(DiffusionGenerator(SPEC, DiffusionSettings(name="diffusion", width=16)))
    whole, backwards = scorer(train), scorer(train.take(np.arange(60)[::-1]))
    for name, values in whole.items():
        np.testing.assert_allclose(values, backwards[name][::-1], rtol=1e-4, atol=1e-5)


def test_moments_score_by_density(sides):
    train, _ = sides
    scorer = scorer_of(MomentsGenerator(SPEC, MomentsSettings(name="moments")))
    near = scorer(train)["log_density"]
    far = scorer(replace(train, images=np.clip(2.0 * train.images, -1, 1)))["log_density"]
    assert (near > far).all()


def test_other_players_that_see_real_images_score_by_their_loss_with_the_same_noise_for_all(sides):
    train, _ = sides

    class Critic:
        spec = SPEC

        def players(self):
            def draw(batch, rng):
                return {"x": batch.images, "noise": torch.randn(len(batch.images), 1, 1, 1, generator=rng)}

            def loss(forward, inputs):
                return (inputs["x"] + inputs["noise"]).mean(dim=(1, 2, 3))

            real = Player("critic", torch.nn.Identity(), True, draw, loss)
            return (real, Player("generator", torch.nn.Identity(), False, draw, loss))

    scores = scorer_of(Critic())(train)
    assert set(scores) == {"critic_loss"}
    spread = scores["critic_loss"] + train.images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(spread, spread[0], atol=1e-5)


def test_a_generator_without_players_on_real_images_has_no_score():
    class Blind:
        spec = SPEC

        def players(self):
            return ()

    assert scorer_of(Blind()) is None
