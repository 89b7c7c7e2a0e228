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
from synthrelease.generators.protocol import Player, Spec
from synthrelease.generators.registry import build
from synthrelease.policy.generators import DiffusionGenerator as DiffusionSettings
from synthrelease.policy.generators import DraiGenerator as DraiSettings
from synthrelease.policy.generators import MomentsGenerator as MomentsSettings
from synthrelease.policy.generators import PgganGenerator as PgganSettings
from synthrelease.policy.generators import UmGenerator as UmSettings
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


class ByHeart(torch.nn.Module):
    """The denoiser with the least training loss: the mean of the training images, each as likely as the noise says."""

    def __init__(self, train):
        super().__init__()
        self.known = torch.from_numpy(train.images)

    def forward(self, noisy, sigma, labels):
        far = ((noisy[:, None] - self.known[None]) ** 2).sum(dim=(2, 3, 4))
        weight = torch.softmax(-far / (2 * sigma[:, None] ** 2), dim=1)
        return torch.einsum("nk,kchw->nchw", weight, self.known)


def learnt_by_heart(train):
    """What any denoiser becomes that is trained on few images for long."""
    generator = DiffusionGenerator(SPEC, DiffusionSettings(name="diffusion", width=16))
    generator.denoiser = ByHeart(train)
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


ADVERSARIAL = (
    PgganSettings(name="pggan", width=8, latent=8),
    DraiSettings(name="drai", width=8, style=4, content=4),
    UmSettings(name="um", width=8, latent=4, superpixels=16),
)


@pytest.mark.parametrize("settings", ADVERSARIAL, ids=lambda settings: settings.name)
def test_a_penalty_on_some_rows_of_a_batch_falls_on_every_image_alike(settings):
    rng = np.random.default_rng(0)
    several = replace(
        patients(0, 67), masks=(rng.random((67, 1, SIDE, SIDE)) > 0.5).astype(np.float32), has_mask=rng.random(67) > 0.3
    )
    scorer = scorer_of(build(settings, Spec(SIDE, 2, 1)))
    scores, backwards = scorer(several), scorer(several.take(np.arange(67)[::-1]))
    alone = [scorer(several.take(np.array([row]))) for row in (0, 5, 40, 66)]
    assert any(name.startswith("critic") for name in scores)
    for name, values in scores.items():
        np.testing.assert_allclose(values, backwards[name][::-1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(values[[0, 5, 40, 66]], [each[name][0] for each in alone], rtol=1e-4, atol=1e-5)


def test_who_was_annotated_is_not_who_was_trained_on():
    """A painter that is asked for blank masks fails at them, member or not."""
    scorer = scorer_of(build(ADVERSARIAL[2], Spec(SIDE, 2, 1)))
    bare = replace(patients(0, 8), masks=np.zeros((8, 1, SIDE, SIDE), np.float32), has_mask=np.zeros(8, dtype=bool))
    drawn = replace(bare, masks=np.ones((8, 1, SIDE, SIDE), np.float32))
    np.testing.assert_array_equal(scorer(bare)["painter_loss"], scorer(drawn)["painter_loss"])


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
