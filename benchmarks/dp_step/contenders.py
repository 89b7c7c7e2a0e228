"""The contenders: each a whole training step that leaves its gradient in the module and has stepped Adam.

Nobody is handicapped: Opacus draws its noise from the ordinary generator, which is faster than a cryptographic one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.dp_step.networks import Configuration, Loss
from synthrelease.generators.protocol import Inputs
from synthrelease.privacy.clipping import Backend, clipped_gradient_sum, patients_at_once, put_gradient, trained
from synthrelease.privacy.noise import OsNoise, add_noise

Step = Callable[[Inputs], float | None]
"""One training step on patients (P, M, ...); gives the CPU seconds in it that went to the noise, None when unknown."""


@dataclass(frozen=True)
class Constants:
    """What all contenders share."""

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    learning_rate: float = 1e-4


Builder = Callable[[nn.Module, Loss, Constants], Step]


@dataclass(frozen=True)
class Contender:
    """One way to make the step.

    Attributes:
        build: Makes the step, ready to run.
        opacus: Whether it is a mode of Opacus.
        standard: Whether it runs when nobody asks for it by name.
        refusal: Why it cannot do a configuration; empty when it can.
    """

    build: Builder
    opacus: bool = False
    standard: bool = True
    refusal: Callable[[Configuration], str] = lambda configuration: ""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Opacus and torch warn of insecure random numbers and of hooks on inputs without gradient; not the matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def adam(module: nn.Module, constants: Constants) -> torch.optim.Adam:
    """The optimiser of every contender."""
    return torch.optim.Adam(list(trained(module).values()), lr=constants.learning_rate)


def row_wise(inputs: Inputs) -> dict[str, Tensor]:
    """(P, M, ...) to (P M, ...): the rows of a patient stand together."""
    return {name: value.flatten(0, 1) for name, value in inputs.items()}


def patients_and_rows(inputs: Inputs) -> tuple[int, int]:
    """P and M."""
    patients, rows = next(iter(inputs.values())).shape[:2]
    return patients, rows


def plain(module: nn.Module, loss: Loss, constants: Constants) -> Step:
    """The mean loss, its gradient, Adam: nothing is private."""
    optimiser = adam(module, constants)

    def step(inputs: Inputs) -> float:
        optimiser.zero_grad()
        loss(module, row_wise(inputs)).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return 0.0

    return step


def own(backend: Backend) -> Builder:
    """The step as :mod:`synthrelease.training.loop` makes it, without the account's line on disk."""

    def build(module: nn.Module, loss: Loss, constants: Constants) -> Step:
        optimiser, noise = adam(module, constants), OsNoise()

        def step(inputs: Inputs) -> float:
            patients, rows = patients_and_rows(inputs)
            block = patients_at_once(rows)
            blocks = (
                {name: value[start : start + block] for name, value in inputs.items()}
                for start in range(0, patients, block)
            )
            clipped, _ = clipped_gradient_sum(module, loss, blocks, constants.clip_norm, block=block, backend=backend)
            before = time.process_time()
            noisy = add_noise(
                clipped.total,
                clip_norm=constants.clip_norm,
                noise_multiplier=constants.noise_multiplier,
                noise=noise,
            )
            spent = time.process_time() - before
            put_gradient(module, torch.from_numpy(noisy / patients))
            optimiser.step()
            return spent

        return step

    return build


def opacus_rows(wrap: Callable[[nn.Module], nn.Module]) -> Builder:
    """A mode of Opacus that leaves each row's gradient in ``grad_sample``, regrouped so that the patient is the unit.

    With one row a patient it is the arithmetic of Opacus's own optimiser.
    """

    def build(module: nn.Module, loss: Loss, constants: Constants) -> Step:
        weights, optimiser = list(trained(module).values()), adam(module, constants)
        spread = constants.noise_multiplier * constants.clip_norm
        with undisturbed():
            wrapped = wrap(module)

        def by_patient(samples: Tensor, patients: int, rows: int) -> Tensor:
            return samples if rows == 1 else samples.reshape(patients, rows, *samples.shape[1:]).mean(dim=1)

        def step(inputs: Inputs) -> float:
            patients, rows = patients_and_rows(inputs)
            optimiser.zero_grad()
            with undisturbed():
                loss(wrapped, row_wise(inputs)).sum().backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                each = [by_patient(parameter.grad_sample, patients, rows) for parameter in weights]  # type: ignore[attr-defined]
                norms = torch.stack([g.flatten(1).norm(dim=1) for g in each]).norm(dim=0)
                factors = (constants.clip_norm / (norms + 1e-6)).clamp(max=1.0)
                sums = [torch.einsum("p,p...->...", factors, g) for g in each]
                before = time.process_time()
                noisy = [total + spread * torch.randn_like(total) for total in sums]
                spent = time.process_time() - before
                for parameter, total in zip(weights, noisy, strict=True):
                    parameter.grad = total / patients
                    parameter.grad_sample = None  # type: ignore[attr-defined]
            optimiser.step()
            return spent

        return step

    return build


def hooks(module: nn.Module) -> nn.Module:
    """Opacus's default mode."""
    from opacus.grad_sample import GradSampleModule

    wrapped: nn.Module = GradSampleModule(module, loss_reduction="sum")
    return wrapped


def functorch(module: nn.Module) -> nn.Module:
    """Opacus's hooks with every layer's gradients by functorch."""
    from opacus.grad_sample import GradSampleModule

    wrapped: nn.Module = GradSampleModule(module, loss_reduction="sum", force_functorch=True)
    return wrapped


def expanded_weights(module: nn.Module) -> nn.Module:
    """Opacus over torch's expanded weights."""
    from opacus.grad_sample import GradSampleModuleExpandedWeights

    wrapped: nn.Module = GradSampleModuleExpandedWeights(module, loss_reduction="sum")
    return wrapped


def ghost(module: nn.Module, loss: Loss, constants: Constants) -> Step:
    """Opacus's fast gradient clipping, as its own loss and optimiser run it; the unit is a row.

    Its noise is inside its optimiser and is not timed apart.
    """
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    with undisturbed():
        wrapped = GradSampleModuleFastGradientClipping(module, max_grad_norm=constants.clip_norm)
        optimiser = DPOptimizerFastGradientClipping(
            adam(module, constants),
            noise_multiplier=constants.noise_multiplier,
            max_grad_norm=constants.clip_norm,
            expected_batch_size=1,
        )

    def step(inputs: Inputs) -> None:
        rows = row_wise(inputs)
        optimiser.expected_batch_size = len(next(iter(rows.values())))
        optimiser.zero_grad(set_to_none=True)
        with undisturbed():
            DPTensorFastGradientClipping(wrapped, optimiser, loss(wrapped, rows)).backward()
            optimiser.step()

    return step


def one_row_only(configuration: Configuration) -> str:
    """Ghost clipping takes the norm of a row's gradient, and cannot take that of the mean of several."""
    return "" if configuration.images == 1 else "its unit is the row, not the patient"


CONTENDERS: Mapping[str, Contender] = {
    "plain": Contender(plain),
    "ours": Contender(own("fast")),
    "vmap": Contender(own("vmap")),
    "opacus hooks": Contender(opacus_rows(hooks), opacus=True),
    "opacus ghost": Contender(ghost, opacus=True, refusal=one_row_only),
    "opacus ew": Contender(opacus_rows(expanded_weights), opacus=True),
    "opacus functorch": Contender(opacus_rows(functorch), opacus=True, standard=False),
}
