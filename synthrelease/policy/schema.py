"""The policy: every setting, its type, range and meaning, in one place.

A policy holds public values only: nothing in it may be derived from the private archive (exact counts, identifiers,
pixel statistics). Field descriptions are the reference that ``synthrelease check --schema`` prints.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from synthrelease.policy.generators import GeneratorSettings
from synthrelease.policy.section import Name, Section, Text, Word


class Sharing(Section):
    """Who may receive the archive, and under which agreement."""

    tier: Literal["open", "registered", "controlled", "internal"] = Field(
        description="open: anybody; registered: named people; controlled: inside a secure environment; internal: stays in the house"
    )
    recipients: tuple[Text, ...] = Field((), description="who receives the archive, in words")
    agreement: str = Field("", description="identifier of the data sharing agreement")


class Roles(Section):
    """Who acts. Identity is asserted by name, not proven."""

    operator: Name = Field(description="who trains and samples; may not approve")
    custodian: Name = Field(description="accountable owner of the cohort and its budget")
    approvers: tuple[Name, ...] = Field((), description="who may approve; empty: anybody but the operator")


class Window(Section):
    """Stored values mapped to [-1, 1]. A public constant, never measured on the cohort."""

    mode: Literal["header", "full", "fixed"] = Field(
        "header",
        description="header: each image's own VOI window, else its full stored range; full: stored range; fixed: low..high for all",
    )
    low: float | None = Field(None, description="stored value (after the modality LUT) shown as -1; only with fixed")
    high: float | None = Field(None, description="stored value (after the modality LUT) shown as +1; only with fixed")


class Label(Section):
    """Where an image's class comes from."""

    csv: str | None = Field(
        None,
        description="CSV file, relative to the cohort folder; default labels.csv when present (DICOM), the table itself (table)",
    )
    key: Literal["SOPInstanceUID", "PatientID", "image"] = Field(
        "SOPInstanceUID", description="CSV column that names the image or the patient"
    )
    column: str = Field("label", description="CSV column that holds the class")
    attribute: str | None = Field(None, description="DICOM keyword that holds the class, instead of a CSV")
    separator: Annotated[str, Field(min_length=1, max_length=3)] | None = Field(
        None, description="what parts several findings in one cell; with cohort.findings"
    )
    others: Literal["refuse", "ignore"] = Field(
        "refuse", description="a finding in a cell that no class names: leave the image out, or overlook the finding"
    )


class Identity(Section):
    """What makes two images one patient's."""

    missing: Literal["refuse", "study"] = Field(
        "refuse",
        description="image without Patient ID: refuse it, or take its study as the patient (weaker: one person may count twice)",
    )


class Phantom(Section):
    """Size of the simulated cohort, for source: phantom."""

    patients: int = Field(1000, ge=20, le=100_000, description="simulated patients, train and holdout together")
    seed: int = Field(7, ge=0, description="public seed of the simulator")


class ClassFindings(Section):
    """What a class asks of the findings; those not named are absent."""

    present: tuple[Word, ...] = Field((), description="findings that an image of the class has")
    either: tuple[Word, ...] = Field((), description="findings that it may have or not")


class CohortSettings(Section):
    """The private archive and how it is read."""

    name: Word = Field(description="public name of the cohort; its ledger is kept under this name")
    source: str = Field(
        "phantom", description="phantom, or a folder of DICOM files, or a folder or CSV file that is a table"
    )
    reader: Literal["auto", "dicom", "table"] = Field("auto", description="how a folder is read")
    modality: Literal["DX", "CR", "CT", "MR", "MG", "US", "OT"] = Field(
        "DX",
        description="Modality of the cohort; names the image class of the synthetic archive, see archive.image_class",
    )
    body_part: Annotated[str, Field(pattern=r"^[A-Z ]{2,16}$")] = Field(
        "CHEST", description="Body Part Examined, a DICOM term"
    )
    field_of_view_mm: float = Field(
        300.0,
        gt=1,
        le=2000,
        description="public width of the imaged field; gives synthetic pixels their spacing",
    )
    classes: tuple[Word, ...] = Field(min_length=1, max_length=64, description="public list of classes, in order")
    findings: dict[Word, ClassFindings] | None = Field(
        None, description="the findings of each class, where images show several at once; empty: a class is a finding"
    )
    segments: tuple[Word, ...] = Field((), max_length=16, description="mask names, in order; empty: no masks")
    masks: Literal["required", "optional"] = Field(
        "required", description="image without its mask: refused, or kept without"
    )
    unmarked_classes: tuple[Word, ...] = Field(
        (),
        max_length=64,
        description="classes that show none of the segments: their images need no mask file, and without one have empty masks",
    )
    label: Label = Field(default_factory=Label)
    identity: Identity = Field(default_factory=Identity)
    window: Window = Field(default_factory=Window)
    frames: Literal["each", "middle", "refuse"] = Field(
        "each", description="multi-frame image: every frame is an image of the patient, the middle one only, or refused"
    )
    resolution: Literal[16, 28, 32, 64, 128, 256, 512, 1024] = Field(
        32, description="training resolution, pixels on a side; above 128 for generator pggan alone"
    )
    holdout_fraction: Annotated[float, Field(ge=0.05, le=0.6)] = Field(
        0.3, description="share of patients that the generator never sees; drawn by patient and recorded"
    )
    phantom: Phantom = Field(default_factory=Phantom)

    @field_validator("unmarked_classes")
    @classmethod
    def _known_and_masked(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """A misspelt class would keep its images without masks, and of no segment there is no mask to be empty."""
        if value and info.data.get("segments") == ():
            raise PydanticCustomError(
                "value_error", "should be left out: cohort.segments is empty, so there are no masks"
            )
        classes = info.data.get("classes", value)
        expected = {"expected": " or ".join(repr(name) for name in classes)}
        wrong = [(index, name) for index, name in enumerate(value) if name not in classes]
        if wrong:
            unknown = PydanticCustomError("literal_error", "unknown class", expected)
            errors = [InitErrorDetails(type=unknown, loc=(index,), input=name) for index, name in wrong]
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return value

    @model_serializer(mode="wrap")
    def _unused_is_unwritten(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs that were begun before `unmarked_classes` was known are bound to digests without it."""
        values: dict[str, Any] = handler(self)
        if not self.unmarked_classes:
            values.pop("unmarked_classes", None)
        return values


class Privacy(Section):
    """The claim. The unit is the patient; add or remove one patient with all their images, masks and labels."""

    mode: Literal["private", "none"] = Field(description="private: patient-level differential privacy; none: no claim")
    unit: Literal["patient"] = Field("patient", description="what one unit of privacy protects")
    epsilon: float | None = Field(None, gt=0, le=50, description="bound on the privacy loss")
    delta: float | None = Field(None, gt=0, lt=0.01, description="chance that the bound does not hold")
    lifetime_epsilon: float | None = Field(
        None,
        gt=0,
        description="cap over all runs on this cohort, composed by the ledger at this delta; empty: no cap",
    )
    expected_patients: int | None = Field(
        None,
        ge=20,
        description="public constant near the number of training patients; normalises sums; never the exact count",
    )
    moments_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="share of the budget (in squared Gaussian-DP mu) spent on closed-form moments",
    )
    sampling_probability: float = Field(
        0.1, gt=0, le=1, description="chance that a patient takes part in a step (Poisson)"
    )
    steps: int = Field(300, ge=0, le=1_000_000, description="private gradient steps")
    clip_norm: float = Field(1.0, ge=1e-6, le=1e6, description="bound on the norm of one patient's gradient")
    images_per_visit: int = Field(
        2, ge=1, le=64, description="images of one patient averaged in a step before clipping"
    )
    noise_draws: int = Field(
        4, ge=1, le=64, description="noise levels averaged per image before clipping (noise multiplicity)"
    )
    clipping: Literal["joint", "separate"] = Field(
        "joint",
        description="several networks on real images: one clipped vector over all of them, or one clipped vector each",
    )
    player_shares: dict[Word, float] | None = Field(
        None,
        description="share of the steps' budget (in squared mu) of each network, for clipping: separate; empty: equal shares",
    )
    backend: Literal["fast", "vmap", "opacus"] = Field(
        "fast", description="engine of per-patient clipping; all three give the same sum, at other speeds"
    )
    strict: bool = Field(
        True,
        description="refuse whatever weakens the claim; false: trains, and the statement names each rule that was not kept",
    )


class MaskSettings(Section):
    """How masks are written. The defaults are what every common reader opens."""

    kind: Literal["binary", "labelmap"] = Field(
        "binary", description="binary: one plane a segment, may overlap; labelmap: one number a pixel, few readers yet"
    )
    compression: Literal["none", "rle", "jpeg-ls", "jpeg-2000"] = Field(
        "none",
        description="lossless; rle and jpeg-ls for label maps only; many archives refuse compressed binary masks",
    )
    one_file_per_segment: bool = Field(
        False, description="a file for each segment, for readers built on GDCM (SimpleITK)"
    )


_TABLE: TypeAdapter[dict[str, float]] = TypeAdapter(
    dict[Word, float], config=ConfigDict(strict=True, allow_inf_nan=False)
)


class ArchiveSettings(Section):
    """What is sampled, and the form it is written in."""

    images: int = Field(1000, ge=1, le=10_000_000, description="synthetic images")
    images_per_patient: int = Field(
        1,
        ge=1,
        le=99,
        description="images filed under one synthetic patient; they are drawn one by one and share a class, no anatomy",
    )
    image_class: Literal["DX", "CT", "MR", "MG", "SC"] | None = Field(
        None, description="DICOM image class; empty: by cohort.modality (DX and CR: DX; CT; MR; MG; others: SC)"
    )
    bits: Literal[12, 16] = Field(12, description="bits stored a pixel")
    masks: MaskSettings = Field(default_factory=MaskSettings)
    reports: bool = Field(False, description="a structured report (TID 1500) of its label beside every image")
    license: Text = Field(
        "See TERMS.md of the release.",
        description="terms named in the archive's Croissant metadata: a name or an address",
    )
    class_shares: dict[Word, float] | Literal["released"] | None = Field(
        None,
        description="share of each class: a public table; released: of the noisy class counts that a private run has paid for "
        "(privacy.mode: private); empty: equal shares. Never measured on the cohort without noise",
    )
    seed: int = Field(0, ge=0, description="seed of the draw; not a secret")
    release_date: Annotated[str, Field(pattern=r"^\d{8}$")] = Field(
        "20260101", description="YYYYMMDD written into every synthetic object; never the clock"
    )

    @field_validator("class_shares", mode="before")
    @classmethod
    def _table_or_word(cls, value: Any) -> Any:
        """Judge a table as a table and a word as a word: of both at once every problem would be told twice, in odd places."""
        if value is None or value == "released":
            return value
        if isinstance(value, str):
            raise PydanticCustomError("literal_error", "unknown word", {"expected": "a table of shares or 'released'"})
        return _TABLE.validate_python(value)


class AuditSettings(Section):
    """How the archive is judged."""

    profile: str = Field("standard", description="audit profile: a name shipped in audits/, or a path")
    seed: int = Field(0, ge=0, description="seed of permutations, resamples and classifiers")
    publish: Literal["coarse", "dp"] = Field(
        "coarse",
        description="outcomes that leave the house: coarse ones, outside of the privacy guarantee; dp is refused so far",
    )


class ReleaseSettings(Section):
    """What is sealed, and for how long it holds."""

    name: Name = Field("synthetic-release", description="name of the release; part of every synthetic UID")
    expires_after_months: int = Field(24, ge=1, le=120, description="approval and release expire after this")
    contact: str = Field("", description="whom a recipient may ask")


class Policy(Section):
    """A policy, whole."""

    schema_: Literal[1] = Field(alias="schema", description="version of this format")
    purpose: Text = Field(description="what the archive is for, one sentence")
    sharing: Sharing
    roles: Roles
    cohort: CohortSettings
    privacy: Privacy
    generator: GeneratorSettings
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    release: ReleaseSettings = Field(default_factory=ReleaseSettings)
