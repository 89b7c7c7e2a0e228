"""What a run needs to go on after it was killed. Never released: it stays in the house with the archive.

    checkpoint/run.json              which policy, cohort, plan and reservation the run belongs to; written once, first
    checkpoint/account.jsonl         uses of mechanisms, counted before the act; see privacy.account
    checkpoint/moments.safetensors   sums released so far
    checkpoint/trainer.safetensors   stage, step, weights, averaged weights, Adam's state: one file, one rename
    checkpoint/generator.*           the finished generator, which sampling reads

No state of any random generator is kept: what is reproducible is seeded by step number, what is privacy noise must
not be reproducible.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.privacy.account import Account
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, canonical_json, read_json, sweep_partials

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunIdentity:
    """What a run is a run of; a resumed process must be the same in all of it."""

    run: str
    policy_digest: str
    cohort_digest: str
    plan_digest: str
    reservation: str


@dataclass(frozen=True)
class Position:
    """How far a run is.

    Attributes:
        stage: ``warm-up`` or ``steps``.
        step: Steps finished in the stage, lost ones included.
        counted: Gradient steps on the account when this was written.
        lost: Steps counted but killed before they were kept, so far.
    """

    stage: str
    step: int
    counted: int
    lost: int


class Checkpoint:
    """The checkpoint folder of a run.

    Args:
        folder: ``RUN/checkpoint``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account_path = folder / "account.jsonl"
        self._run = folder / "run.json"
        self._moments = folder / "moments.safetensors"
        self._trainer = folder / "trainer.safetensors"

    @property
    def started(self) -> bool:
        """Whether a run was begun here."""
        return self._run.exists()

    @property
    def counted(self) -> bool:
        """Whether anything private was counted or kept here."""
        lines = self.account_path.read_bytes().count(b"\n") if self.account_path.exists() else 0
        return lines > 1 or self._moments.exists() or self._trainer.exists()

    def begin(self, identity: RunIdentity) -> None:
        """Note what the run is; the first thing written.

        Raises:
            IntegrityError: A run was begun here already.
        """
        if self.started:
            raise IntegrityError(f"the run {identity.run} was begun already", fix="Resume it.")
        atomic_write_json(self._run, identity.__dict__)

    def identity(self, expected: RunIdentity | None = None) -> RunIdentity:
        """What the run here is.

        Args:
            expected: What the resuming process is; its reservation is not compared.

        Raises:
            UsageError: No run was begun here.
            IntegrityError: The run is of another policy, cohort or plan.
        """
        if not self.started:
            raise UsageError("there is no run to resume here", fix="Start it without --resume.")
        sweep_partials(self.folder)
        try:
            found = RunIdentity(**read_json(self._run))
        except TypeError as error:
            raise IntegrityError("run.json does not describe a run", fix="Start a new run.") from error
        if expected is not None:
            for part in ("run", "policy_digest", "cohort_digest", "plan_digest"):
                if getattr(found, part) != getattr(expected, part):
                    raise IntegrityError(
                        f"the run was begun under another {part.replace('_', ' ')}",
                        fix="Resume with the policy and the cohort that it was begun with, or start a new run.",
                    )
        return found

    def keep_sums(self, sums: dict[str, Array]) -> None:
        """Put the released sums on disk, all of them in one rename."""
        atomic_write_bytes(self._moments, save({name: torch.from_numpy(value) for name, value in sums.items()}))

    def sums(self) -> dict[str, Array]:
        """The sums released so far."""
        if not self._moments.exists():
            return {}
        try:
            return {name: value.numpy() for name, value in load(self._moments.read_bytes()).items()}
        except SafetensorError as error:
            raise _damaged(self._moments) from error

    def sums_digest(self) -> str | None:
        """SHA-256 of the file of the released sums; None where there are none."""
        return digest_of_file(self._moments) if self._moments.exists() else None

    def save(self, position: Position, tensors: dict[str, Tensor], account: Account | None) -> None:
        """Keep the trainer's state, with the account's history in it, in one rename."""
        history = [m.to_json() for m in account.mechanisms()] if account else []
        record = canonical_json({"position": position.__dict__, "account": history}).decode()
        content = save({k: v.contiguous() for k, v in tensors.items()}, metadata={"record": record})
        atomic_write_bytes(self._trainer, content)

    def load(self, account: Account | None) -> tuple[Position, dict[str, Tensor]] | None:
        """The last state kept, or None when none was.

        Args:
            account: Of the run; it must count all that it counted when the state was kept.

        Raises:
            IntegrityError: The file is damaged, or the account counts less than it did.
        """
        if not self._trainer.exists():
            return None
        position, kept, tensors = self._kept()
        now = {m.name: m.steps for m in account.mechanisms()} if account else {}
        if any(now.get(name, 0) < steps for name, steps in kept.items()):
            raise IntegrityError(
                "the account counts less than when the weights were kept",
                fix="Start a new run; the ledger keeps this one charged in full.",
            )
        return position, tensors

    def weights(self) -> dict[str, Tensor]:
        """What players were when training ended, as :meth:`synthrelease.training.loop.Stepper.state` names it; nothing if
        nothing was kept. To judge a model with, in the house: the finished generator holds what sampling needs alone.

        Raises:
            IntegrityError: The file is damaged.
        """
        return self._kept()[2] if self._trainer.exists() else {}

    def _kept(self) -> tuple[Position, dict[str, int], dict[str, Tensor]]:
        """Position, steps of each mechanism when it was written, and tensors."""
        try:
            with safe_open(str(self._trainer), framework="pt") as stream:
                record: dict[str, Any] = json.loads(stream.metadata()["record"])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            steps = {m["name"]: int(m["steps"]) for m in record["account"]}
            return Position(**record["position"]), steps, tensors
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise _damaged(self._trainer) from error


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(f"{path.name} is damaged", fix="Restore it from a copy, or start a new run.")
