"""The policy: every setting, its type, range and meaning, in one place.

A policy holds public values only: nothing in it may be derived from the private archive (exact counts, identifiers,
pixel statistics). Field descriptions are the reference that ``synthrelease check --schema`` prints.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.\-]*$")]
Word = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A part of the policy: frozen, and strict about unknown keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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
    label: Label = Field(default_factory=Label)
    identity: Identity = Field(default_factory=Identity)
    window: Window = Field(default_factory=Window)
    frames: Literal["each", "middle", "refuse"] = Field(
        "each", description="multi-frame image: every frame is an image of the patient, the middle one only, or refused"
    )
    resolution: Literal[16, 28, 32, 64, 128] = Field(32, description="training resolution, pixels on a side")
    holdout_fraction: Annotated[float, Field(ge=0.05, le=0.6)] = Field(
        0.3, description="share of patients that the generator never sees; drawn by patient and recorded"
    )
    phantom: Phantom = Field(default_factory=Phantom)


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


class MomentsGenerator(Section):
    """Class-conditional Gaussian over a public cosine basis of image and masks."""

    name: Literal["moments"]
    image_frequencies: int = Field(16, ge=2, le=32, description="cosine frequencies per axis kept of the image")
    mask_frequencies: int = Field(12, ge=2, le=32, description="cosine frequencies per axis kept of each mask")


class Stepped(Section):
    """What every generator that takes gradient steps is told."""

    image_frequencies: int = Field(16, ge=2, le=32, description="of the moments that warm the model up; see moments")
    mask_frequencies: int = Field(12, ge=2, le=32, description="of the moments that warm the model up; see moments")
    warmup_steps: int = Field(
        600, ge=0, le=1_000_000, description="steps on samples of the moments, before any real image"
    )
    steps: int = Field(1500, ge=0, le=10_000_000, description="plain steps on real images (privacy.mode: none)")
    batch: int = Field(64, ge=1, le=4096, description="images per plain or warm-up step")
    learning_rate: float = Field(4e-3, gt=0, lt=1, description="Adam step size, plain and warm-up")
    private_learning_rate: float = Field(3e-3, gt=0, lt=1, description="Adam step size of private steps")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.98, description="decay of the averaged weights used to sample"
    )
    seed: int = Field(0, ge=0, description="seed of initial weights and warm-up; never of privacy noise")


class DiffusionGenerator(Stepped):
    """Class-conditional diffusion of image and masks together (EDM preconditioning)."""

    name: Literal["diffusion"]
    width: int = Field(
        32,
        ge=8,
        le=512,
        description="channels of the first level; multiples of 16 are fast, 16 suits privacy, 32 and more plain training",
    )
    sampler_steps: int = Field(18, ge=2, le=1000, description="denoising steps per image")


class LatentClass(Section):
    """Latent class optimisation: how the latent of each image is moved until a frozen guide sees the class."""

    steps: int = Field(40, ge=0, le=1000, description="gradient steps on the latent, at most; 0: unguided")
    learning_rate: float = Field(0.05, gt=0, lt=10, description="Adam step size on the latent sphere")
    restarts: int = Field(3, ge=0, le=100, description="fresh starts for an image that was not accepted")
    jitter: int = Field(
        2, ge=0, le=32, description="shifted and noisy looks a step, against solutions that fool the guide"
    )
    critic_weight: float = Field(0.0, ge=0, le=100, description="weight of the critic's score in the objective")
    angle_weight: float = Field(0.0, ge=0, le=100, description="weight of the squared angle from the starting latent")
    present_at: float | None = Field(
        None, gt=0, lt=1, description="guide's probability from which a finding counts as present; empty: calibrated"
    )
    absent_at: float | None = Field(
        None, gt=0, lt=1, description="guide's probability up to which a finding counts as absent; empty: calibrated"
    )


class PgganGenerator(Stepped):
    """Progressive GAN of image and masks together, unconditional; classes come by latent class optimisation."""

    name: Literal["pggan"]
    learning_rate: float = Field(2e-3, gt=0, lt=1, description="Adam step size, plain and warm-up")
    private_learning_rate: float = Field(3e-4, gt=0, lt=1, description="Adam step size of private steps")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.998, description="decay of the averaged weights used to sample"
    )
    batch: int = Field(16, ge=1, le=4096, description="images per plain or warm-up step")
    latent: int = Field(64, ge=4, le=1024, description="dimensions of the latent")
    width: int = Field(32, ge=8, le=512, description="channels of the coarse scales; finer ones have fewer")
    loss: Literal["softplus", "wgan_gp"] = Field(
        "softplus",
        description="softplus: non-saturating, with R1; wgan_gp: Wasserstein with gradient penalty and drift",
    )
    penalty_weight: float = Field(
        0.1,
        ge=0,
        le=1000,
        description="of R1 at real pictures, or, without minibatch_stddev, at generated ones, where it costs no privacy; or of "
        "the gradient penalty",
    )
    minibatch_stddev: bool = Field(
        True, description="the critic sees how much a batch varies; only without a privacy claim"
    )
    critic_steps: int = Field(1, ge=1, le=100, description="steps of the critic for each of the generator")
    private_critic_steps: int = Field(
        2, ge=1, le=1000, description="the same in private steps, where the critic may need more against the noise"
    )
    fade_share: float = Field(0.5, ge=0, le=1, description="share of each scale's steps in which it is faded in")
    guide: str = Field(
        "trained",
        min_length=1,
        description="classifier that latents are steered by: trained (with the generator, under its claim), moments "
        "(on samples of the moments alone), or the folder of a run whose guide is taken",
    )
    lco: LatentClass = Field(default_factory=LatentClass)


Transform = Literal["rotate", "shift", "zoom", "exposure", "mirror", "upside_down", "quarter_turn"]
Aspect = Literal["side", "upright", "angle", "position", "size", "grey"]


class DraiGenerator(Stepped):
    """Content (what the class says) and style (the rest) apart, by dual adversarial inference."""

    name: Literal["drai"]
    batch: int = Field(16, ge=1, le=4096, description="images per plain or warm-up step")
    learning_rate: float = Field(1e-3, gt=0, lt=1, description="Adam step size, plain and warm-up")
    private_learning_rate: float = Field(5e-4, gt=0, lt=1, description="Adam step size of private steps")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.995, description="decay of the averaged weights")
    content: int = Field(16, ge=2, le=512, description="dimensions of the content")
    style: int = Field(16, ge=2, le=512, description="dimensions of the style")
    width: int = Field(32, ge=8, le=512, description="channels of the finest grid")
    cycle: Literal["image", "latent"] = Field(
        "image",
        description="image: real image to codes and back; latent: codes to image and back, no real one (a departure)",
    )
    cycle_weight: float = Field(10.0, ge=0, le=1000, description="weight of the cycle")
    code_weight: float = Field(0.003, ge=0, le=100, description="pull of inferred codes to their prior laws")
    conditioning_weight: float = Field(0.02, ge=0, le=100, description="pull of each class's contents to a normal law")
    reversal_weight: float = Field(1.0, ge=0, le=100, description="gradient reversal between the codes; 0: none")
    predictor_steps: int = Field(5, ge=1, le=20, description="steps of the predictors to one of the encoder")
    predictor_rate: float = Field(1.0, gt=0, le=100, description="the predictors' learning rate, over the others'")
    self_supervision_weight: float = Field(1.0, ge=0, le=100, description="of transformed images; 0: none")
    transforms: tuple[Transform, ...] = Field(("rotate", "shift", "zoom", "exposure"), description="keep the content")
    label_tells: tuple[Aspect, ...] = Field((), description="what the classes tell of, so that no transform changes it")
    penalty_weight: float = Field(0.05, ge=0, le=1000, description="squared slope of the critics; 0: none")
    penalty_on: Literal["real", "generated"] = Field("real", description="where; generated: at no cost of privacy")


GeneratorSettings = Annotated[
    MomentsGenerator | DiffusionGenerator | PgganGenerator | DraiGenerator, Field(discriminator="name")
]


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
    class_shares: dict[Word, float] | None = Field(
        None, description="public share of each class; empty: equal shares. Never measured on the cohort"
    )
    seed: int = Field(0, ge=0, description="seed of the draw; not a secret")
    release_date: Annotated[str, Field(pattern=r"^\d{8}$")] = Field(
        "20260101", description="YYYYMMDD written into every synthetic object; never the clock"
    )


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
