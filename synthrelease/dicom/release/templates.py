"""Every kind of file of a release as a template, made from its public settings before anything private is opened.

    image, mask file, report  =  template (kind, part, width of the series number, variant)  +  values  +  pixels

Each template comes from two files of the slow path with invented contents. A variant is what a file's content decides
in its header: whether masks overlap (Segments Overlap, PS3.3 C.8.20.2), and the class that a report states.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.instances import file_bytes, image_of, masks_of, report_of
from synthrelease.dicom.release.layout import FileKind, Place, parts_of, path_of, place_at, place_of, places_of_patient
from synthrelease.dicom.release.pixels import image_pixels, mask_pixels
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.values import is_wide, values_of
from synthrelease.dicom.template import PIXELS, Template, template_between

APART, OVERLAPPING = "apart", "overlapping"

_Key = tuple[FileKind, int, bool, str]


@dataclass(frozen=True)
class Expected:
    """What one file of a release must be.

    Attributes:
        place: Which file.
        templates: The forms that it may have; more than one where the content decides.
        values: What must stand in every slot but the pixels'.
    """

    place: Place
    templates: tuple[Template, ...]
    values: Mapping[str, bytes]


@dataclass(frozen=True)
class ReleaseTemplates:
    """All templates of a release; picklable. Made by `release_templates`."""

    settings: ArchiveSettings
    forms: Mapping[_Key, Template]

    @property
    def images(self) -> int:
        """How many images the archive must hold."""
        return self.settings.images

    @property
    def patients(self) -> int:
        """How many patients."""
        return self.settings.patients

    def templates(self) -> Iterable[Template]:
        """Every template."""
        return self.forms.values()

    def of(self, place: Place, variant: str = "") -> Template:
        """The template of a file.

        Args:
            place: Which file.
            variant: Of a mask file `variant_of(...)`, of a report its class, of an image "".

        Raises:
            KeyError: The archive has no such file.
        """
        return self.forms[(place.kind, place.part, is_wide(place, self.settings), variant)]

    def variant_of(self, overlapping: bool) -> str:
        """The variant of a mask file whose masks overlap, or do not."""
        return OVERLAPPING if overlapping and OVERLAPPING in _mask_variants(self.settings) else APART

    def paths(self) -> Iterator[str]:
        """Every DICOM file of the archive in byte order of its path, one after the other."""
        for patient in range(1, self.settings.patients + 1):
            for place in places_of_patient(patient, self.settings):
                yield path_of(place, self.settings)

    def expected(self, path: str) -> Expected | None:
        """What the file of that path must be; None when the archive has no such file."""
        place = place_at(path, self.settings)
        if place is None:
            return None
        variants = _variants(place.kind, self.settings)
        return Expected(place, tuple(self.of(place, each) for each in variants), values_of(place, self.settings))


@functools.lru_cache(maxsize=4)
def release_templates(settings: ArchiveSettings) -> ReleaseTemplates:
    """Build and check every template of a release: some tenths of a second, from public settings alone.

    Raises:
        IntegrityError: The installed pydicom or highdicom writes files that no template gives back.
    """
    forms = {}
    for kind in FileKind:
        for part in range(parts_of(kind, settings)):
            for places in _pairs(kind, part, settings):
                for variant in _variants(kind, settings):
                    wide = is_wide(places[0], settings)
                    forms[(kind, part, wide, variant)] = _template(places, variant, settings)
    return ReleaseTemplates(settings, forms)


def _variants(kind: FileKind, settings: ArchiveSettings) -> tuple[str, ...]:
    if kind is FileKind.REPORT:
        return settings.classes
    return _mask_variants(settings) if kind is FileKind.MASK else ("",)


def _mask_variants(settings: ArchiveSettings) -> tuple[str, ...]:
    several = len(settings.segments) > 1 and not settings.one_file_per_segment
    return (APART, OVERLAPPING) if several and settings.mask_kind is MaskKind.BINARY else (APART,)


def _pairs(kind: FileKind, part: int, settings: ArchiveSettings) -> Iterator[tuple[Place, Place]]:
    """Two places of a file in two patients, for each width of the series number that occurs; images apart if possible."""
    first, second = (int("1234567"[: settings.digits]), int("9876543"[: settings.digits]))
    images = range(1, settings.images_per_patient + 1)
    by_width: dict[bool, list[int]] = {}
    for image in images:
        place = Place(kind, image, 1, image, part)
        by_width.setdefault(is_wide(place, settings), []).append(image)
    for found in by_width.values():
        one, other = (
            place_of((patient - 1) * settings.images_per_patient + image, settings, kind, part)
            for patient, image in ((first, found[0]), (second, found[-1]))
        )
        yield one, other


def _template(places: tuple[Place, Place], variant: str, settings: ArchiveSettings) -> Template:
    made = [_example(place, variant, seed, settings) for seed, place in enumerate(places)]
    compressed = places[0].kind is FileKind.MASK and settings.mask_compression is not Compression.NONE
    (first, mine), (second, theirs) = made
    return template_between(first, second, (mine, theirs), tail=PIXELS if compressed else "")


def _example(place: Place, variant: str, seed: int, settings: ArchiveSettings) -> tuple[bytes, dict[str, bytes]]:
    """A file of invented content by the slow path, and the values that it holds."""
    rng = np.random.default_rng(seed)
    values = values_of(place, settings)
    levels = rng.integers(0, 1 << settings.bits, (settings.rows, settings.columns), np.uint16)
    image = image_of(levels, place.number, settings)
    if place.kind is FileKind.IMAGE:
        return file_bytes(image), {**values, PIXELS: bytes(image_pixels(levels))}
    if place.kind is FileKind.REPORT:
        return file_bytes(report_of(image, variant, place.number, settings)), values
    masks = _example_masks(rng, variant, settings)
    shown = masks[place.part : place.part + 1] if settings.one_file_per_segment else masks
    written = file_bytes(masks_of(image, masks, place.number, settings, place.part))
    return written, {**values, PIXELS: bytes(mask_pixels(shown, settings))}


def _example_masks(rng: np.random.Generator, variant: str, settings: ArchiveSettings) -> npt.NDArray[np.bool_]:
    """(K, H, W) masks: every pixel in one of them or in none; overlapping ones share their first pixel."""
    count = len(settings.segments)
    owner = rng.integers(0, count + 1, (settings.rows, settings.columns))
    masks: npt.NDArray[np.bool_] = owner == np.arange(count)[:, np.newaxis, np.newaxis]
    if variant == OVERLAPPING:
        masks[:, 0, 0] = True
    return masks
