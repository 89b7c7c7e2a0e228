"""Rules of the generator that paints after maps of superpixels, each a named function with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from synthrelease.policy.generators import UmGenerator
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]


def real_maps_stay_in_the_house(policy: Policy) -> Iterator[Breach]:
    """A map of a real image is that image, nearly: what is painted after it leads back to the patient."""
    generator = policy.generator
    if not isinstance(generator, UmGenerator) or generator.guidance != "real":
        return
    path = ("generator", "guidance")
    if policy.privacy.mode == "private":
        yield (
            path,
            "real maps void the claim of privacy.mode: private: each leads back to the patient it was taken of; use "
            "generated, procedural or public",
        )
    elif policy.sharing.tier != "internal":
        yield (
            path,
            f"real maps need sharing.tier: internal, not '{policy.sharing.tier}': each leads back to its patient",
        )


def public_maps_have_images(policy: Policy) -> Iterator[Breach]:
    """Maps are taken of images; of none there are none."""
    generator = policy.generator
    if not isinstance(generator, UmGenerator):
        return
    path = ("generator", "public_images")
    if generator.guidance == "public" and generator.public_images is None:
        yield path, "needed when generator.guidance is public: a NumPy file of images that anybody may see"
    if generator.guidance != "public" and generator.public_images is not None:
        yield (
            path,
            f"belongs to guidance: public; remove it, or it would be taken for what guides this run ({generator.guidance})",
        )


def masks_have_segments(policy: Policy) -> Iterator[Breach]:
    """A share of no masks is no share."""
    generator = policy.generator
    if isinstance(generator, UmGenerator) and generator.labelled_share < 1 and not policy.cohort.segments:
        yield (
            ("generator", "labelled_share"),
            "this cohort names no segments, so no patient has masks to use; leave it out",
        )


def superpixels_are_larger_than_pixels(policy: Policy) -> Iterator[Breach]:
    """Superpixels of one or two pixels are the picture itself."""
    generator = policy.generator
    if not isinstance(generator, UmGenerator):
        return
    most = policy.cohort.resolution**2 // 4
    if generator.superpixels > most:
        yield ("generator", "superpixels"), f"at most a fourth of the pixels ({most}), or a map is the image"


RULES: tuple[Rule, ...] = (
    real_maps_stay_in_the_house,
    public_maps_have_images,
    masks_have_segments,
    superpixels_are_larger_than_pixels,
)
