"""Settings of the generators, a class each; ``name`` says which one a policy means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from synthrelease.policy.section import Section


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
    learning_rate: float = Field(0.1, gt=0, lt=10, description="Adam step size on the latent sphere")
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
    styles_per_finding: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="every class is drawn with the same so many styles, whose number the label table tells; empty: each image "
        "has a style of its own",
    )
    width: int = Field(32, ge=8, le=512, description="channels of the finest grid")
    cycle: Literal["image", "latent"] = Field(
        "image",
        description="image: real image to codes and back; latent: codes to image and back, no real one (a departure)",
    )
    cycle_weight: float = Field(10.0, ge=0, le=1000, description="weight of the cycle")
    code_weight: float = Field(0.003, ge=0, le=100, description="pull of inferred codes to their prior laws")
    conditioning_weight: float = Field(0.02, ge=0, le=100, description="pull of each class's contents to a normal law")
    reversal_weight: float = Field(1.0, ge=0, le=100, description="gradient reversal between the codes; 0: none")
    predictor_steps: int = Field(
        5,
        ge=1,
        le=20,
        description="steps of the predictors to one of the encoder, plain and warm-up; private steps take one, since each is "
        "paid for",
    )
    predictor_rate: float = Field(1.0, gt=0, le=100, description="the predictors' learning rate, over the others'")
    self_supervision_weight: float = Field(1.0, ge=0, le=100, description="of transformed images; 0: none")
    transforms: tuple[Transform, ...] = Field(("rotate", "shift", "zoom", "exposure"), description="keep the content")
    label_tells: tuple[Aspect, ...] = Field((), description="what the classes tell of, so that no transform changes it")
    penalty_weight: float = Field(0.05, ge=0, le=1000, description="squared slope of the critics; 0: none")
    penalty_on: Literal["real", "generated"] = Field("real", description="where; generated: at no cost of privacy")


class UmGenerator(Stepped):
    """Image and masks together, guided by maps of superpixels, of which few have to come with masks."""

    name: Literal["um"]
    batch: int = Field(16, ge=1, le=4096, description="images per plain or warm-up step")
    learning_rate: float = Field(1e-3, gt=0, lt=1, description="Adam step size, plain and warm-up")
    private_learning_rate: float = Field(5e-4, gt=0, lt=1, description="Adam step size of private steps")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.995, description="decay of the averaged weights")
    width: int = Field(32, ge=8, le=512, description="channels of the finest grid")
    latent: int = Field(64, ge=4, le=1024, description="dimensions of the noise that maps are made of")
    guidance: Literal["generated", "procedural", "public", "real"] = Field(
        "generated",
        description="maps at sampling: generated from noise; procedural: of no data; public: of generator.public_images; "
        "real: of patients set apart for it, who can be told from what is painted after them",
    )
    public_images: str | None = Field(
        None,
        min_length=1,
        description="with guidance: public: NumPy file of grey images (M, H, W), uint8, that anybody may see",
    )
    labelled_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the patients whose masks are used, drawn patient by patient; the others teach the image alone",
    )
    transforms: tuple[Transform, ...] = Field(
        ("rotate", "shift", "zoom", "exposure"),
        description="what the painter's lessons are turned by, image and masks together; empty: none",
    )
    label_tells: tuple[Aspect, ...] = Field((), description="what the classes tell of, so that no transform changes it")
    superpixels: int = Field(128, ge=4, le=4096, description="superpixels of a map, whatever the resolution")
    compactness: float = Field(0.1, gt=0, le=100, description="of superpixels, for grey levels in [0, 1]")
    level_step: int = Field(10, ge=1, le=128, description="levels of 0..255 that become one")
    reconstruction_weight: float = Field(10.0, ge=0, le=1000, description="of the image that the map was taken of")
    segmentation_weight: float = Field(
        2.0,
        ge=0,
        le=1000,
        description="of masks that are known; the published 10 leaves images grainy in short training",
    )
    pseudo_weight: float = Field(0.1, ge=0, le=1000, description="of masks that are not, on trusted pixels")
    trusted_from: float = Field(
        0.5, ge=0, le=1, description="critic's probability from which a pixel of a painted image is trusted"
    )
    penalty_weight: float = Field(
        1.0, ge=0, le=1000, description="of the slope of the critic of maps, at generated ones"
    )


GeneratorSettings = Annotated[
    MomentsGenerator | DiffusionGenerator | PgganGenerator | DraiGenerator | UmGenerator, Field(discriminator="name")
]
