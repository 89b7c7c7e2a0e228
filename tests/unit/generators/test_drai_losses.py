"""What the players are trained to, example by example."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthrelease.generators.drai import losses, reversal
from synthrelease.generators.drai.discriminators import CLASS, CONTENT, PICTURE, STYLE, WRONG, Critics
from synthrelease.generators.drai.networks import Gaussian


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(seed: int = 0, size: int = 4) -> Tensor:
    return torch.randn(size, 5, generator=rng(seed))


def test_a_wrong_class_is_never_the_own_one_and_every_other_is_as_likely() -> None:
    labels = torch.zeros(6000, dtype=torch.int64)
    wrong = losses.wrong_labels(labels, 4, rng())
    assert (wrong != labels).all()
    shares = torch.bincount(wrong, minlength=4)[1:] / len(wrong)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_wrong_class_follows_from_the_own_label_alone() -> None:
    one, other = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 0, 1, 2])
    assert losses.wrong_labels(one, 3, rng())[0] == losses.wrong_labels(other, 3, rng())[0]


def test_with_one_class_there_is_no_wrong_one_and_nothing_is_asked_of_it() -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    wrong = losses.wrong_labels(labels, 1, rng())
    given = scores()
    before = losses.critics_on_real(given, labels, wrong)
    given[:, WRONG] += 5.0
    assert torch.equal(losses.critics_on_real(given, labels, wrong), before)


@pytest.mark.parametrize("job", [PICTURE, CLASS, STYLE, CONTENT])
def test_each_of_the_four_jobs_pulls_real_up_and_generated_down(job: int) -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    low, high = scores(), scores()
    high[:, job] += 1.0
    assert (losses.critics_on_real(high, labels, labels + 1) < losses.critics_on_real(low, labels, labels + 1)).all()
    assert (losses.critics_on_made(high) > losses.critics_on_made(low)).all()
    assert (losses.of_generator(high) < losses.of_generator(low)).all()


def test_a_wrong_class_counts_half_and_pulls_down() -> None:
    labels = torch.zeros(1, dtype=torch.int64)
    given = torch.zeros(1, 5)
    neutral = float(losses.critics_on_real(given, labels, labels + 1))
    assert neutral == pytest.approx(4.5 * torch.log(torch.tensor(2.0)).item())
    given[:, WRONG] = 1.0
    assert float(losses.critics_on_real(given, labels, labels + 1)) > neutral


def test_the_encoder_is_judged_by_the_two_jobs_on_codes_alone() -> None:
    base = losses.of_encoder(scores())
    for job, matters in ((PICTURE, False), (CLASS, False), (WRONG, False), (STYLE, True), (CONTENT, True)):
        other = scores()
        other[:, job] += 1.0
        assert bool((losses.of_encoder(other) > base).all()) is matters


def test_critics_judge_pairs_and_never_the_triple() -> None:
    critics = Critics(3, 2, 16, 8, style=4, content=5)
    pictures, labels = torch.randn(6, 2, 16, 16, generator=rng()), torch.arange(6) % 3
    style, content = torch.randn(6, 4, generator=rng(1)), torch.randn(6, 5, generator=rng(2))
    first = critics(pictures, labels, labels, style, content)
    moved = {
        "label": critics(pictures, (labels + 1) % 3, labels, style, content),
        "wrong": critics(pictures, labels, (labels + 1) % 3, style, content),
        "style": critics(pictures, labels, labels, style + 1, content),
        "content": critics(pictures, labels, labels, style, content + 1),
    }
    changed = {name: (other != first).any(dim=0).nonzero().flatten().tolist() for name, other in moved.items()}
    assert changed == {"label": [CLASS], "wrong": [WRONG], "style": [STYLE], "content": [CONTENT]}
    assert torch.equal(first[:, CLASS], first[:, WRONG])


def test_a_class_enters_by_projection() -> None:
    critics = Critics(3, 1, 16, 8, style=2, content=2)
    pictures, codes = torch.randn(4, 1, 16, 16, generator=rng()), torch.zeros(4, 2)
    zero, one = (critics(pictures, torch.full((4,), t), torch.full((4,), t), codes, codes)[:, CLASS] for t in range(2))
    weights = critics.classes.weight
    torch.testing.assert_close(one - zero, critics.trunk(pictures) @ (weights[1] - weights[0]))


def test_divergence_is_nothing_between_equals_and_known_otherwise() -> None:
    law = Gaussian(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -0.5]]))
    assert float(losses.divergence(law, law)) == pytest.approx(0.0, abs=1e-6)
    moved = Gaussian(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
    assert float(losses.divergence(moved)) == pytest.approx(2.0)


def test_self_supervision_wants_like_contents_and_unlike_styles_and_stops_at_orthogonal() -> None:
    one, across = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])

    def loss(style: Tensor, content: Tensor) -> float:
        return float(losses.self_supervision(one, one, style, content))

    assert loss(across, one) == pytest.approx(0.0)
    assert loss(one, one) == pytest.approx(1.0)
    assert loss(across, -one) == pytest.approx(2.0)
    assert loss(-one, one) == loss(across, one)


def test_reversal_rises_from_nothing() -> None:
    shares = [reversal.ramp(share / 10) for share in range(11)]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] > 0.99


def test_codes_are_standardised_each_by_itself() -> None:
    codes = torch.randn(3, 8, generator=rng()) * torch.tensor([[0.1], [1.0], [9.0]]) + 4.0
    done = reversal.standardised(codes)
    torch.testing.assert_close(done.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(done.square().mean(dim=1), torch.ones(3), atol=1e-2, rtol=0)
    assert torch.equal(reversal.standardised(codes[1:2]), done[1:2])


@pytest.mark.parametrize("hidden", ["style", "content"])
def test_the_encoder_hides_a_code_and_cannot_move_the_target(hidden: str) -> None:
    predictors = reversal.Predictors(style=4, content=6, width=8)
    codes = {
        "style": torch.randn(5, 4, generator=rng(), requires_grad=True),
        "content": torch.randn(5, 6, generator=rng(1), requires_grad=True),
    }
    column = 0 if hidden == "style" else 1
    reversal.errors(predictors, codes["style"], codes["content"])[:, column].sum().backward()
    other = "content" if hidden == "style" else "style"
    assert codes[hidden].grad is not None
    assert codes[hidden].grad.abs().max() > 0
    # Standardising keeps it in the graph, at nothing.
    assert codes[other].grad is None or codes[other].grad.abs().max() == 0


def test_the_encoder_gains_nothing_beyond_chance() -> None:
    style, content = torch.randn(5, 4, generator=rng(), requires_grad=True), torch.randn(5, 6, generator=rng(1))

    def wild(style: Tensor, content: Tensor) -> Tensor:
        return 100.0 * torch.cat([content + style.sum(), style], dim=1)

    worth = reversal.reversed_errors(wild, style, content)
    assert worth.tolist() == [-2.0] * 5
    (slope,) = torch.autograd.grad(worth.sum(), style)
    assert slope.abs().max() == 0


def played(predictor_steps: int, *, reversed_: bool = True, seed: int = 0) -> float:
    """Share of a code's variance that a fresh linear probe tells from the other, after playing the game on two linear codes.

    What is seen is eight numbers; either code must keep four of them.
    """
    torch.manual_seed(seed)
    predictors = reversal.Predictors(style=6, content=6, width=32)
    encoder, decoder = torch.nn.Linear(8, 12), torch.nn.Linear(12, 8)
    maker = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=5e-3)
    teller = torch.optim.Adam(predictors.parameters(), lr=5e-3)
    for step in range(250):
        for _ in range(predictor_steps):
            codes = encoder(torch.randn(64, 8)).detach()
            teller.zero_grad()
            reversal.errors(predictors, codes[:, :6], codes[:, 6:]).sum(dim=1).mean().backward()
            teller.step()
        x = torch.randn(64, 8)
        codes = encoder(x)
        loss = 5 * (decoder(codes) - x).abs().mean()
        if reversed_:
            still = reversal.reversed_errors(predictors, codes[:, :6], codes[:, 6:]).mean()
            loss = loss + reversal.ramp(step / 125) * still
        maker.zero_grad()
        loss.backward()
        maker.step()
    with torch.no_grad():
        codes = encoder(torch.randn(2000, 8))
        seen, told = (reversal.standardised(part) for part in (codes[:, :6], codes[:, 6:]))
        solved = torch.linalg.lstsq(seen[:1000], told[:1000]).solution
        return float(1 - (seen[1000:] @ solved - told[1000:]).square().sum() / told[1000:].square().sum())


def test_predictors_that_keep_up_part_the_codes_as_a_fresh_probe_sees() -> None:
    assert played(5) < 0.5 * played(1, reversed_=False)
