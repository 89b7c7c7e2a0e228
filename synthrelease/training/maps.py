"""Public images whose maps guide what is sampled, and what the training record tells of where maps come from."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.generators.protocol import Generator
from synthrelease.generators.um.given import ANY, refuse_repeats
from synthrelease.generators.um.model import UmGenerator
from synthrelease.policy.generators import UmGenerator as UmSettings
from synthrelease.policy.schema import Policy
from synthrelease.policy.shares import images_by_class
from synthrelease.training.likeness import BLOCK, any_is_among
from synthrelease.training.patients import Images

WARNING = (
    "generator.guidance: real: images are painted after maps of patients who were set apart for it, and each leads back to its "
    "patient. For use in the house; no other guidance does this"
)


@dataclass(frozen=True)
class PublicImages:
    """Images that anybody may see.

    Attributes:
        images: (M, 1, H, W) float32 in [-1, 1], H = W, each once.
        digest: SHA-256 of their file.
    """

    images: Tensor
    digest: str

    def require_strangers(self, cohort: Images) -> None:
        """Refuse images of the cohort among them, of training, holdout or neither: as public ones they would be under no claim.

        How many there are, and whose, stands in no message. A refusal stays in the house; a run that goes on tells of the cohort
        that no public image is in it, which is what calling them public says.

        Args:
            cohort: All of it; read a block at a time.

        Raises:
            UnsuitableData: One of them is an image of the cohort, or nearly so; see :mod:`synthrelease.training.likeness`.
        """
        rows = np.arange(len(cohort.labels), dtype=np.int64)
        blocks = (torch.from_numpy(cohort.images(rows[at : at + BLOCK])) for at in range(0, len(rows), BLOCK))
        side = cohort.images(rows[:1]).shape[-1]
        probes = torch.cat(
            [functional.interpolate(part, size=(side, side), mode="area") for part in torch.split(self.images, BLOCK)]
        )
        if any_is_among(probes, blocks):
            raise UnsuitableData(
                "generator.public_images holds an image of this cohort, or nearly the same: a map of it leads back to its "
                "patient, whatever file it comes from",
                fix="Give images of other people that anybody may see. Maps of the cohort's own patients are guidance: real, in "
                "the house and without a claim.",
            )

    def give(self, generator: Generator) -> None:
        """Have a generator sample by their maps."""
        assert isinstance(generator, UmGenerator)
        generator.give_maps(self.images)


def public_images(policy: Policy) -> PublicImages | None:
    """The images that the policy takes maps of; None where it takes none.

    Raises:
        UsageError: There is no such file.
        UnsuitableData: It does not hold grey images, or too few for the archive.
    """
    settings = policy.generator
    if not isinstance(settings, UmSettings) or settings.public_images is None:
        return None
    try:
        content = Path(settings.public_images).read_bytes()
    except OSError as error:
        raise UsageError(
            f"generator.public_images: {settings.public_images} cannot be read",
            fix="Name a NumPy file (.npy) of public grey images.",
        ) from error
    try:
        values = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _not_images(settings.public_images, "no NumPy file") from error
    if not (values.ndim == 3 and len(values) and values.shape[1] == values.shape[2] and values.dtype == np.uint8):
        raise _not_images(settings.public_images, f"{values.dtype} of shape {values.shape}")
    _, first = np.unique(values, axis=0, return_index=True)
    values = values[np.sort(first)]
    require_maps(policy, torch.full((len(values),), ANY))
    images = torch.from_numpy(values.astype(np.float32) / 127.5 - 1.0)[:, None]
    return PublicImages(images, sha256(content).hexdigest())


def require_maps(policy: Policy, map_labels: Tensor) -> None:
    """Refuse, before anything is trained, a policy whose archive would hold images twice.

    Args:
        policy: The policy. Where its class shares are still to be released, sampling has to ask again.
        map_labels: (M,) class of each map that will be given, or ``ANY``.

    Raises:
        UnsuitableData: Fewer maps fit a class than images of it are wanted.
    """
    wanted = images_by_class(policy)
    if wanted is not None:
        refuse_repeats(map_labels, wanted, policy.cohort.classes)


def guidance_told(policy: Policy, given: PublicImages | None) -> dict[str, Any] | None:
    """What the training record tells of maps and of the masks that were used; None for generators without maps."""
    settings = policy.generator
    if not isinstance(settings, UmSettings):
        return None
    told: dict[str, Any] = {
        "maps": settings.guidance,
        "masks_used": {"share_of_patients": settings.labelled_share, "seed": settings.seed},
    }
    if given is not None:
        told["public_images"] = {"number": len(given.images), "sha256": given.digest}
    if settings.guidance == "real":
        told["warning"] = WARNING
    return told


def _not_images(path: str, what: str) -> UnsuitableData:
    return UnsuitableData(
        f"generator.public_images: {path} holds {what}",
        fix="Give square grey images as one uint8 array (M, H, W), M at least 1.",
    )
