"""Thresholds: the typical real image decides when a finding counts; what cannot be told apart is said to be so."""

from __future__ import annotations

import pytest
import torch

from synthrelease.generators.pggan.thresholds import ABSENT_AT, PRESENT_AT, Thresholds, calibrated


def passing(made: Thresholds, probabilities: torch.Tensor, targets: torch.Tensor) -> float:
    return float((made.shortfall(probabilities.logit(eps=1e-6), targets).amax(dim=1) <= 0).float().mean())


@pytest.mark.parametrize("findings", [1, 3])
def test_one_in_four_of_the_real_images_of_every_class_would_be_accepted_for_what_they_show(findings: int) -> None:
    rng = torch.Generator().manual_seed(findings)
    targets = torch.randint(2, (600, findings), generator=rng).float()
    probabilities = (3.0 * (targets - 0.5) + torch.randn(600, findings, generator=rng)).sigmoid()
    made = calibrated(probabilities, targets)
    shares = [
        passing(made, *(t[(targets == row).all(dim=1)] for t in (probabilities, targets)))
        for row in targets.unique(dim=0)
    ]
    # One finding: the median of either class. Three at once: the strictest that the hardest class allows.
    assert min(shares) == pytest.approx(0.5 if findings == 1 else 0.25, abs=0.03)
    assert made.told_apart.all()


def test_a_class_is_not_asked_to_be_unlike_its_neighbour_as_a_third_one_is() -> None:
    """Of two classes that resemble each other the rarer keeps thresholds that its own images reach."""
    rng = torch.Generator().manual_seed(0)
    centres = torch.tensor([[4.0, -5.0, -5.0], [-5.0, 1.0, -1.0], [-5.0, -0.3, 0.3]])
    labels = torch.cat([torch.zeros(300), torch.ones(300), torch.full((60,), 2.0)]).long()
    probabilities = (centres[labels] + torch.randn(660, 3, generator=rng)).sigmoid()
    targets = torch.eye(3)[labels]
    made = calibrated(probabilities, targets)
    assert passing(made, probabilities[labels == 2], targets[labels == 2]) >= 0.25
    assert made.absent[1] > 0.2  # the second finding is allowed to be as likely as it is in images of the third class


def test_a_rare_finding_that_never_reaches_half_gets_a_threshold_that_real_images_reach() -> None:
    rng = torch.Generator().manual_seed(0)
    with_it, without = 0.1 + 0.2 * torch.rand(20, 1, generator=rng), 0.05 * torch.rand(500, 1, generator=rng)
    made = calibrated(torch.cat([with_it, without]), torch.cat([torch.ones(20, 1), torch.zeros(500, 1)]))
    assert made.present < 0.3
    assert (with_it >= made.present).float().mean().item() >= 0.25


def test_images_of_which_a_finding_is_not_known_do_not_count() -> None:
    probabilities = torch.tensor([[0.9], [0.1], [0.5]])
    made = calibrated(probabilities, torch.tensor([[1.0], [0.0], [0.5]]))
    assert made.present.item() == pytest.approx(0.9)
    assert made.absent.item() == pytest.approx(0.1)


def test_a_finding_without_images_of_a_kind_gets_the_default_there() -> None:
    made = calibrated(torch.tensor([[0.05, 0.6]]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(made.present, torch.tensor([PRESENT_AT, 0.6]))
    torch.testing.assert_close(made.absent, torch.tensor([0.05, ABSENT_AT]))
    none = calibrated(torch.zeros(0, 2), torch.zeros(0, 2))
    torch.testing.assert_close(none.present, Thresholds.default(2).present)


def test_a_guide_that_is_wrong_is_told_and_both_sides_stay_reachable() -> None:
    made = calibrated(torch.tensor([[0.2], [0.6]]), torch.tensor([[1.0], [0.0]]))
    assert not made.told_apart.any()
    assert made.present.item() == made.absent.item() == pytest.approx(0.4)
    rng = torch.Generator().manual_seed(0)
    guessed = calibrated(torch.rand(200, 1, generator=rng), torch.randint(2, (200, 1), generator=rng).float())
    assert guessed.present.item() == pytest.approx(0.5, abs=0.1)


def test_sure_guides_leave_thresholds_with_finite_logits() -> None:
    made = calibrated(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [0.0]]))
    assert torch.isfinite(made.present.logit()).all()
    assert torch.isfinite(made.absent.logit()).all()


def test_a_policy_overrules_what_was_measured() -> None:
    made = calibrated(torch.tensor([[0.8], [0.2]]), torch.tensor([[1.0], [0.0]]))
    assert made.fixed(0.95, None).present.item() == pytest.approx(0.95)
    assert made.fixed(0.95, None).absent.item() == pytest.approx(0.2)
    assert made.fixed(None, 0.05).absent.item() == pytest.approx(0.05)


def test_the_floor_leaves_one_unguided_sample_in_a_hundred_below() -> None:
    made = Thresholds.default(1).floored(torch.arange(1000.0))
    assert (torch.arange(1000.0) < made.critic_floor).float().mean().item() == pytest.approx(0.01, abs=0.002)
    assert torch.isneginf(Thresholds.default(1).critic_floor)


def test_tensors_give_the_thresholds_back() -> None:
    made = Thresholds(torch.tensor([0.7, 0.8]), torch.tensor([0.1, 0.2]), torch.tensor(-3.5))
    again = Thresholds.from_tensors(made.tensors())
    assert all(torch.equal(again.tensors()[name], value) for name, value in made.tensors().items())


def test_thresholds_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="one vector for presence"):
        Thresholds(torch.tensor([0.7, 0.8]), torch.tensor([0.1]), torch.tensor(0.0))


def test_shortfall_is_not_above_zero_just_where_every_finding_is_on_its_side() -> None:
    made = Thresholds(torch.tensor([0.8, 0.8]), torch.tensor([0.3, 0.3]), torch.tensor(0.0))
    logits = torch.tensor([[0.81, 0.29], [0.79, 0.29], [0.81, 0.31]]).logit()
    short = made.shortfall(logits, torch.tensor([1.0, 0.0]).expand(3, 2))
    assert (short.amax(dim=1) <= 0).tolist() == [True, False, False]
    either = made.shortfall(logits, torch.tensor([1.0, 0.5]).expand(3, 2))
    assert (either.amax(dim=1) <= 0).tolist() == [True, False, True]
