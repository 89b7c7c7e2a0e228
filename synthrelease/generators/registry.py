"""Which generators there are, how one is built, and how a trained one is kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from synthrelease.errors import IntegrityError
from synthrelease.generators.diffusion.model import DiffusionGenerator
from synthrelease.generators.drai.model import DraiGenerator, style_notes
from synthrelease.generators.drai.settings import on_real_images as drai_on_real_images
from synthrelease.generators.moments.model import MomentsGenerator
from synthrelease.generators.pggan.model import PgganGenerator, guide_notes, on_real_images
from synthrelease.generators.protocol import Generator, Spec
from synthrelease.generators.um.model import UmGenerator
from synthrelease.generators.um.settings import on_real_images as um_on_real_images
from synthrelease.policy.findings import finding_names
from synthrelease.policy.generators import GeneratorSettings
from synthrelease.policy.schema import Policy
from synthrelease.records.files import atomic_write_bytes, atomic_write_json, canonical_json, read_json

Notes = tuple[tuple[str, str], ...]
WEIGHTS = "generator.safetensors"
MANIFEST = "generator.json"


@dataclass(frozen=True)
class Entry:
    """One generator: the name its settings carry, how it starts, how it comes back from its tensors.

    Attributes:
        name: Of its settings.
        build: Untrained.
        restore: From what its ``state()`` gave.
        on_real_images: Its players that see real images, by its settings: what a privacy plan has to pay for, before any is
            built.
        notes: (settings, names of the findings) -> name and description of what it tells of each image that it makes.
    """

    name: str
    build: Callable[[Spec, Any], Generator]
    restore: Callable[[Spec, Any, Mapping[str, Tensor]], Generator]
    on_real_images: Callable[[Any], tuple[str, ...]]
    notes: Callable[[Any, tuple[str, ...]], Notes] = lambda settings, findings: ()


GENERATORS: tuple[Entry, ...] = (
    Entry("moments", MomentsGenerator, MomentsGenerator.from_state, lambda settings: ()),
    Entry("diffusion", DiffusionGenerator, DiffusionGenerator.from_state, lambda settings: ("denoiser",)),
    Entry("pggan", PgganGenerator, PgganGenerator.from_state, on_real_images, guide_notes),
    Entry("drai", DraiGenerator, DraiGenerator.from_state, drai_on_real_images, style_notes),
    Entry("um", UmGenerator, UmGenerator.from_state, um_on_real_images),
)


def _entry(name: str) -> Entry:
    return next(entry for entry in GENERATORS if entry.name == name)


def players_on_real_images(settings: GeneratorSettings) -> tuple[str, ...]:
    """Names of the players that see real images."""
    return _entry(settings.name).on_real_images(settings)


def notes_of(policy: Policy) -> Notes:
    """What the policy's generator tells of each image that it makes: column name and description, in order."""
    return _entry(policy.generator.name).notes(policy.generator, finding_names(policy.cohort))


def build(settings: GeneratorSettings, spec: Spec) -> Generator:
    """An untrained generator: moments at the public prior, a network at the weights of ``settings.seed``."""
    return _entry(settings.name).build(spec, settings)


def save_generator(folder: Path, generator: Generator, settings: GeneratorSettings) -> None:
    """Keep a generator in ``folder``, replacing one that is there.

    Tensors are renamed into place first and the manifest, which holds their digest, last: a reader that finds
    a manifest of other tensors refuses.

    Raises:
        UnsuitableData: The disk is full or the folder cannot be written.
    """
    tensors = {name: tensor.contiguous().cpu() for name, tensor in generator.state().items()}
    content = save(tensors)
    atomic_write_bytes(folder / WEIGHTS, content)
    manifest = {
        "settings": settings.model_dump(mode="json"),
        "spec": asdict(generator.spec),
        "tensors": sha256(content).hexdigest(),
    }
    atomic_write_json(folder / MANIFEST, manifest)


def load_generator(folder: Path) -> Generator:
    """The generator that :func:`save_generator` kept; it samples bit-equal.

    Raises:
        IntegrityError: A file is missing, damaged, or belongs to another generator.
    """
    manifest = read_json(folder / MANIFEST)
    fix = "Restore the checkpoint from a copy, or train again."
    try:
        content = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise IntegrityError(f"{WEIGHTS} is missing", fix=fix) from error
    try:
        # As JSON: settings are strict about types, and a tuple of theirs was kept as a list.
        settings: GeneratorSettings = TypeAdapter(GeneratorSettings).validate_json(canonical_json(manifest["settings"]))
        spec = Spec(**manifest["spec"])
        digest = manifest["tensors"]
    except (KeyError, TypeError, ValidationError) as error:
        raise IntegrityError(f"{MANIFEST} does not describe a generator", fix=fix) from error
    if digest != sha256(content).hexdigest():
        raise IntegrityError(f"{WEIGHTS} is not the file that {MANIFEST} describes", fix=fix)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise IntegrityError(f"{WEIGHTS} is damaged", fix=fix) from error
    return _entry(settings.name).restore(spec, settings, tensors)
