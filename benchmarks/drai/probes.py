"""Judges that no generator has met: probes fitted anew on frozen codes, and networks fitted on real images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.drai.cohort import Known

INNER = 64
Loss = Callable[[Tensor, Tensor], Tensor]


class Judge(nn.Module):
    """A small convolutional network on images alone, never on masks."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(layer for inputs, width in ((1, 16), (16, 32), (32, 64)) for layer in _halving(inputs, width)),
            nn.Flatten(),
            nn.Linear(64 * 16, INNER),
            nn.SiLU(),
        )
        self.last = nn.Linear(INNER, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 32, 32) to (N, outputs)."""
        out: Tensor = self.last(self.features(images))
        return out


def _halving(inputs: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.SiLU()


def fit(network: nn.Module, x: Tensor, y: Tensor, loss: Loss, *, steps: int, seed: int) -> nn.Module:
    """Steps of AdamW on batches of 64 with a little noise; the network comes back out of training mode."""
    rng = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=rng)
        noisy = x[rows] + 0.05 * torch.randn(x[rows].shape, generator=rng)
        adam.zero_grad(set_to_none=True)
        loss(network(noisy), y[rows]).backward()  # type: ignore[no-untyped-call]
        adam.step()
        pace.step()
    return network.eval()


def judge_of_findings(known: Known, *, steps: int) -> Judge:
    """Tells the finding of an image."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        judge = Judge(len(known.classes))
    fit(judge, known.batch.images, known.batch.labels, functional.cross_entropy, steps=steps, seed=1)
    return judge


def judge_of_style(known: Known, *, steps: int) -> Judge:
    """Tells the style factors of an image."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(2)
        judge = Judge(len(known.factors))
    fit(judge, known.batch.images, known.style, functional.mse_loss, steps=steps, seed=2)
    return judge


def _probe(inputs: int, outputs: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, INNER), nn.SiLU(), nn.Linear(INNER, outputs))


def _alike(codes: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    mean, spread = codes.mean(dim=0), codes.std(dim=0) + 1e-6
    return (codes - mean) / spread, (new - mean) / spread


def class_told(codes: Tensor, labels: Tensor, new: Tensor, new_labels: Tensor, *, steps: int) -> float:
    """Balanced accuracy on new codes of a probe fitted on others; chance is one over the classes."""
    codes, new = _alike(codes, new)
    classes = int(labels.max()) + 1
    probe = fit(_probe(codes.shape[1], classes, 3), codes, labels, functional.cross_entropy, steps=steps, seed=3)
    with torch.no_grad():
        return balanced(probe(new).argmax(dim=1), new_labels)


def numbers_told(codes: Tensor, targets: Tensor, new: Tensor, new_targets: Tensor, *, steps: int) -> list[float]:
    """Share of each target's variance that a fresh probe tells from new codes; 0 at best guess, below 0 when worse."""
    codes, new = _alike(codes, new)
    targets, new_targets = _alike(targets, new_targets)
    probe = fit(_probe(codes.shape[1], targets.shape[1], 4), codes, targets, functional.mse_loss, steps=steps, seed=4)
    with torch.no_grad():
        wrong = (probe(new) - new_targets).square().mean(dim=0)
    return [float(share) for share in 1.0 - wrong / new_targets.var(dim=0, unbiased=False).clamp_min(1e-6)]


def balanced(told: Tensor, labels: Tensor) -> float:
    """Mean over classes of the share that is told rightly."""
    return float(torch.stack([(told[labels == c] == c).float().mean() for c in sorted(set(labels.tolist()))]).mean())
