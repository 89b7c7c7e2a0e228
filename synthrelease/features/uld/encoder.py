"""An encoder as a file: weights, shape and where they come from, in one safetensors file that runs no code."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from synthrelease.errors import UnsuitableData
from synthrelease.features.uld.networks import SMALLEST_SIDE, EmbeddingNetwork
from synthrelease.records.files import atomic_write_bytes, canonical_json
from synthrelease.records.private_files import write_private

FloatArray = npt.NDArray[np.float32]
Role = Literal["landmarks", "copies"]
Kind = Literal["public", "private", "dp"]

ROLES: tuple[Role, ...] = ("landmarks", "copies")
KINDS: tuple[Kind, ...] = ("public", "private", "dp")
SCHEMA = "synthrelease.uld-encoder/1"
BATCH = 16
LARGEST_FILE = 64 * 2**20
"""Bytes; the largest encoder of this package has 6 MB."""
LARGEST_SIDE = 1024
"""Pixels; images are enlarged to the side that a file states, so a forged one must not fill the memory."""


@dataclass(frozen=True)
class Provenance:
    """Whom the weights have seen.

    Attributes:
        kind: ``public``: invented or public images only. ``private``: patients; the file never leaves the house.
            ``dp``: patients, under the guarantee that epsilon and delta state.
        source: One sentence for people; names no patient and no path.
        cohort_digests: What tells the private cohorts again, 16 to 64 hexadecimal digits each; never ids.
        epsilon: Of ``dp``, else None. delta: Of ``dp``, else None.
        recipe: What it was fitted by, as JSON values.

    Raises:
        ValueError: Kind and the other fields contradict each other.
    """

    kind: Kind
    source: str
    cohort_digests: tuple[str, ...] = ()
    epsilon: float | None = None
    delta: float | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, not one of {', '.join(KINDS)}")
        if any(not re.fullmatch(r"[0-9a-f]{16,64}", digest) for digest in self.cohort_digests):
            raise ValueError("cohorts are named by digests of 16 to 64 hexadecimal digits")
        if (self.kind == "public") == bool(self.cohort_digests):
            raise ValueError("private and dp encoders name their cohorts by digest, public ones have none")
        stated = self.epsilon is not None and self.delta is not None
        if (self.kind == "dp") != stated or (self.kind != "dp" and (self.epsilon, self.delta) != (None, None)):
            raise ValueError("epsilon and delta belong to kind dp, both of them")
        if self.epsilon is not None and self.delta is not None:
            sound = math.isfinite(self.epsilon) and self.epsilon > 0 and 0 < self.delta < 1
            if not sound:
                raise ValueError("epsilon is above 0 and finite, delta between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        record: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Provenance:
        """From plain values; ValueError, TypeError or KeyError when they are not what `to_json` gives."""
        if set(record) != {"kind", "source", "cohort_digests", "epsilon", "delta", "recipe"}:
            raise ValueError("fields are missing or unknown")
        if not isinstance(record["source"], str) or not isinstance(record["recipe"], dict):
            raise TypeError("source is a text and recipe an object")
        return cls(**{**record, "cohort_digests": tuple(record["cohort_digests"])})


class Encoder:
    """A fitted network with its role and provenance.

    Args:
        role: See the package. network: `EmbeddingNetwork` for landmarks, `LocalNetwork` for copies.
        provenance: Whom the weights have seen.
    """

    def __init__(self, role: Role, network: nn.Module, provenance: Provenance) -> None:
        self.role: Role = role
        self.network = network.eval().requires_grad_(False)
        self.provenance = provenance
        self.digest = hashlib.sha256(self.to_bytes()).hexdigest()
        """SHA-256 of the file, 64 hexadecimal digits."""

    @property
    def side(self) -> int | None:
        """Pixels a side of the images that it was fitted to; give it images of that size. None: not told."""
        side = self.provenance.recipe.get("side")
        return side if isinstance(side, int) else None

    def rounded(self) -> Encoder:
        """The same with weights rounded to half precision, whose file is half as large; arithmetic stays single."""
        rounded = {
            name: value.half().float() if value.is_floating_point() else value
            for name, value in self.network.state_dict().items()
        }
        return Encoder(self.role, _built(self.role, _settings(self.network), rounded), self.provenance)

    def embed(self, images: FloatArray) -> FloatArray:
        """Unit vectors per pixel, a batch at a time without gradients.

        Args:
            images: (N, 1, H, W) in [-1, 1].

        Returns:
            (N, D, H, W) float32: 0.5 MB an image at 64 px and D = 32, so ask for a few hundred at once.
        """
        if not len(images):
            raise ValueError("there are no images to embed")
        with torch.inference_mode():
            parts = [
                self.network(torch.from_numpy(np.ascontiguousarray(images[i : i + BATCH], dtype=np.float32))).numpy()
                for i in range(0, len(images), BATCH)
            ]
        return np.concatenate(parts)

    def to_bytes(self) -> bytes:
        """The file."""
        record = {
            "schema": SCHEMA,
            "role": self.role,
            "network": _settings(self.network),
            "provenance": self.provenance.to_json(),
        }
        weights = {name: _compact(value) for name, value in self.network.state_dict().items()}
        return bytes(save(weights, metadata={"record": canonical_json(record).decode()}))

    def save(self, path: Path) -> None:
        """Replace ``path`` by this encoder in one step; one that has seen patients is its owner's alone from the start.

        Raises:
            UnsuitableData: The disk refuses.
        """
        write = atomic_write_bytes if self.provenance.kind == "public" else write_private
        write(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Encoder:
        """Read an encoder.

        Raises:
            UnsuitableData: The file is missing, cut, too large, of another schema, or its weights do not fit its shape.
        """
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise ValueError(f"has more than {LARGEST_FILE // 2**20} MB")
            content = path.read_bytes()
            role, settings, provenance = _read_record(content)
            weights = {
                name: value.float() if value.is_floating_point() else value for name, value in load(content).items()
            }
            if any(not bool(torch.isfinite(value).all()) for value in weights.values()):
                raise ValueError("holds weights that are not finite")
            return cls(role, _built(role, settings, weights), provenance)
        except FileNotFoundError as error:
            raise UnsuitableData(
                f"there is no encoder {path.name}", fix="Name a file that features fit wrote."
            ) from error
        except OSError as error:
            raise UnsuitableData(f"the encoder {path.name} cannot be read: {error.strerror}", fix=_FIX) from error
        except _ODD as error:
            why = str(error) if type(error) is ValueError else "is damaged or is no encoder file"
            raise UnsuitableData(f"the encoder {path.name} {why.splitlines()[0]}", fix=_FIX) from error


_ODD = (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError)
_FIX = "Fit it again with features fit, or restore it from a copy."


def _read_record(content: bytes) -> tuple[Role, dict[str, Any], Provenance]:
    """What the header of the file says; the header's length stands in its first eight bytes, little end first."""
    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8 or length > 100_000:
        raise ValueError("is damaged or is no encoder file")
    header = json.loads(content[8 : 8 + length])
    record = json.loads(header["__metadata__"]["record"])
    if record["schema"] != SCHEMA:
        raise ValueError(f"is not of the schema {SCHEMA}")
    if record["role"] not in ROLES:
        raise ValueError(f"has none of the roles {', '.join(ROLES)}")
    try:
        provenance = Provenance.from_json(record["provenance"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"has an unsound provenance: {error}") from error
    side = provenance.recipe.get("side")
    if isinstance(side, int) and not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise ValueError(f"states images of {side} pixels a side, and none is fitted to such")
    return record["role"], record["network"], provenance


def _settings(network: nn.Module) -> dict[str, Any]:
    settings: dict[str, Any] = network.settings  # type: ignore[assignment]
    return settings


def _built(role: Role, settings: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """A network of a recorded shape with recorded weights; what does not fit raises."""
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    # Built without memory, so that a forged shape costs nothing before it is refused.
    with torch.device("meta"):
        network: nn.Module
        if role == "landmarks":
            network = EmbeddingNetwork(**arguments)
        else:
            from synthrelease.features.uld.local import LocalNetwork

            network = LocalNetwork(**arguments)
    network.load_state_dict(weights, assign=True)
    return network


def _compact(value: Tensor) -> Tensor:
    """Half precision where it says the same."""
    half = value.half() if value.dtype == torch.float32 else value
    return (half if bool((half.to(value.dtype) == value).all()) else value).contiguous()
