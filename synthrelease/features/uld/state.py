"""The state of a fit on disk: networks, optimisers and how far it is, in one file that is replaced in one step."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from synthrelease.errors import IntegrityError
from synthrelease.records.files import atomic_write_bytes, canonical_json, sweep_partials

_FIX = "Remove it and fit again from the start."


class State:
    """A file to keep a fit in and to go on from.

    Args:
        path: The file; None keeps nothing. It is as private as the images that the fit saw.
        identity: What the fit follows from, as digests by name; a state of another is refused.
        every_s: Seconds between two writings.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, str], every_s: float) -> None:
        self._path, self._identity, self._every_s = path, dict(identity), every_s
        self._kept_at = time.monotonic()
        if path is not None:
            sweep_partials(path.parent)

    def keep(
        self, done: int, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer], *, last: bool = False
    ) -> None:
        """Write the state after ``done`` steps, if it is time to or ``last``."""
        if self._path is None or (not last and time.monotonic() - self._kept_at < self._every_s):
            return
        tensors = {
            f"{name}/{key}": value for name, part in networks.items() for key, value in part.state_dict().items()
        }
        for name, optimiser in optimisers.items():
            for number, values in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}/{number}/{key}": value for key, value in values.items()}
        record = canonical_json({**self._identity, "done": done}).decode()
        content = save({name: value.contiguous() for name, value in tensors.items()}, metadata={"record": record})
        atomic_write_bytes(self._path, content)
        self._kept_at = time.monotonic()

    def restore(self, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]) -> int:
        """Load what was kept into networks and optimisers, whose names must differ.

        Returns:
            Steps that are done; 0 where nothing was kept.

        Raises:
            IntegrityError: The file is damaged or belongs to another fit.
        """
        if self._path is None or not self._path.exists():
            return 0
        damaged = IntegrityError(f"{self._path.name} is damaged", fix=_FIX)
        try:
            with safe_open(str(self._path), framework="pt") as stream:
                record = json.loads(stream.metadata()["record"])
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            identity = {name: record[name] for name in self._identity}
            done = int(record["done"])
        except (SafetensorError, ValueError, LookupError, TypeError, OSError) as error:
            raise damaged from error
        for what, value in identity.items():
            if value != self._identity[what]:
                raise IntegrityError(
                    f"{self._path.name} was begun with another {what}",
                    fix="Go on with the same, or remove it and begin again.",
                )
        try:
            for name, network in networks.items():
                network.load_state_dict(_below(tensors, name))
            for name, optimiser in optimisers.items():
                moments: dict[int, dict[str, Tensor]] = {}
                for key, value in _below(tensors, name).items():
                    number, _, what = key.partition("/")
                    moments.setdefault(int(number), {})[what] = value
                optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        except (ValueError, RuntimeError, KeyError) as error:
            raise damaged from error
        return done


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
