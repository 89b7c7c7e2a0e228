"""Settings that other tools have and that would void the claim: refused by name, with the mathematics.

None of them exists in the schema, so nothing could ever read them. They stand here because a reader who writes one
holds a belief that is worth a sentence: "unknown setting" would not tell why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from synthrelease.policy.strict_yaml import Path, dotted


@dataclass(frozen=True)
class RefusedSetting:
    """One belief about a setting.

    Attributes:
        rule: Name of the rule that it breaks.
        settings: Dotted paths.
        reason: Why, in a sentence or two.
        values: Pattern of the values that are refused, in lower case and without spaces; an unknown setting refuses all.
        held: Pattern of the values that ask for what is done anyway.
        always: Refused without a claim too (privacy.mode: none).
    """

    rule: str
    settings: tuple[str, ...]
    reason: str
    values: str = ".*"
    held: str = "(?!)"
    always: bool = False


_MEASURED = r"auto|real|cohort|dataset|data|measured|estimated?|empirical|train(ing)?|same|counts?|.*len\(.*"
_OF_N = rf"{_MEASURED}|null|none|[\d.e+\-*/^()a-z]*\bn\b.*|adaptive"
_YES, _NO = "true|yes|on", "false|no|off|null|none|0"

_UNIT = (
    "a patient with k images is k units then, and epsilon per image bounds the patient at k * epsilon only, with a delta "
    "that grows as exp(k * epsilon). The unit is the patient: all their images make one clipped vector"
)
_KEY = (
    "an image whose patient is not known counts as a person of its own, so that one person with five such images "
    "has a fifth of the protection"
)
_POISSON = (
    "the accountant multiplies the loss of a step by the chance q of each patient to be in it, which holds for independent "
    "draws only; shuffled batches and batches of fixed size leak several times the epsilon that is computed so"
)
_CONSTANTS = (
    "a value computed from the number of patients changes with one patient more or less, so that noise and step size tell "
    "who was there, and no accountant counts that. Give a public constant"
)
_NOISE = (
    "whoever learns the seed, or a weak generator's state, draws the same noise again and subtracts it: nothing is private "
    "then. Noise comes from the operating system and is not kept; generator.seed and archive.seed cover the rest"
)
_STOPPING = (
    "each look at a loss or a score on real patients is one more release, and the step or model that it chooses tells of "
    "them. The number of steps is a constant, chosen on simulated patients"
)
_PREPROCESSING = (
    "limits measured on the cohort carry its most unusual patients into every pixel without noise, a release that no "
    "epsilon covers. Use each image's own header (mode: header) or public numbers (mode: fixed)"
)
_SAMPLING = (
    "a label row, mask or header value of a patient in the archive is that patient's data without noise: the guarantee "
    "covers only what is computed from noisy results"
)
_MIXING = (
    "a layer that mixes the images of a batch lets one patient change the gradients of all others, so that the sum moves by "
    "more than the clip norm that the noise covers"
)
_CHARGED = (
    "a clip norm that follows the gradients, or a result without an entry in the ledger, is a release that nobody "
    "counts: epsilon would be larger than printed"
)
_GDP = (
    "it is a central-limit approximation and was measured up to 12 % below the true epsilon: a promise that is not kept"
)
_RDP = (
    "it is 8 to 18 % loose and drops orders that fail to converge; it serves as an upper sanity line in tests, no more"
)
_ONE = "one accountant makes the number, PLD of dp-accounting, an upper bound at every grid; PRV of Opacus checks it"

_STOPS = (
    "early_stopping",
    "patience",
    "select_best",
    "best_checkpoint",
    "monitor",
    "validation",
    "validation_fraction",
)

REFUSED: tuple[RefusedSetting, ...] = (
    RefusedSetting("patient_is_the_unit", ("privacy.unit", "privacy.clip_per", "privacy.level"), _UNIT, held="patient"),
    RefusedSetting("patient_key_is_known", ("cohort.identity.missing",), _KEY),
    RefusedSetting("patient_key_is_known", ("cohort.identity.key",), _KEY, held="patientid"),
    RefusedSetting("patients_are_poisson_sampled", ("privacy.sampling",), _POISSON, held="poisson"),
    RefusedSetting("patients_are_poisson_sampled", ("privacy.poisson_sampling",), _POISSON, held=_YES),
    RefusedSetting("patients_are_poisson_sampled", ("privacy.shuffle",), _POISSON, held=_NO),
    RefusedSetting(
        "constants_are_public",
        ("privacy.sampling_probability", "privacy.expected_patients", "privacy.delta", "privacy.steps"),
        _CONSTANTS,
        values=_OF_N,
    ),
    RefusedSetting(
        "constants_are_public",
        ("privacy.normaliser", "privacy.normalizer", "privacy.batch_size", "privacy.epochs"),
        _CONSTANTS + " (expected_patients, sampling_probability, steps)",
    ),
    RefusedSetting("patients_do_not_mix", ("generator.batch_norm", "generator.minibatch_stddev"), _MIXING, held=_NO),
    RefusedSetting("patients_do_not_mix", ("generator.norm",), _MIXING, values="batch.*"),
    RefusedSetting(
        "preprocessing_is_public",
        ("cohort.window.mode", "cohort.window.low", "cohort.window.high"),
        _PREPROCESSING,
        values=rf"{_MEASURED}|percentiles?|quantiles?|p\d+|min[_\-]?max|min|max|z[_\-]?score|standard.*|histogram|robust",
    ),
    RefusedSetting(
        "preprocessing_is_public", ("cohort.classes", "cohort.resolution"), _PREPROCESSING, values=_MEASURED
    ),
    RefusedSetting(
        "preprocessing_is_public",
        (
            *("cohort.normalisation", "cohort.normalization", "cohort.standardise", "cohort.standardize"),
            *("cohort.mean", "cohort.std", "cohort.percentiles", "cohort.whitening"),
        ),
        _PREPROCESSING,
    ),
    RefusedSetting("nothing_real_is_sampled", ("archive.labels",), _SAMPLING, held="policy|public", always=True),
    RefusedSetting("nothing_real_is_sampled", ("archive.headers",), _SAMPLING, held="generated|public", always=True),
    RefusedSetting(
        "nothing_real_is_sampled",
        ("archive.masks",),
        _SAMPLING,
        values=rf"{_MEASURED}|.*(real|patient|private).*",
        held="generated|public",
        always=True,
    ),
    RefusedSetting(
        "nothing_real_is_sampled", ("archive.class_shares", "archive.images"), _SAMPLING, values=_MEASURED, always=True
    ),
    RefusedSetting("noise_has_no_seed", ("privacy.seed", "privacy.noise_seed", "privacy.random_state"), _NOISE),
    RefusedSetting("noise_has_no_seed", ("privacy.secure", "privacy.secure_mode"), _NOISE, held=_YES),
    RefusedSetting(
        "nothing_is_selected_on_real_data",
        tuple(f"{section}.{name}" for section in ("privacy", "generator") for name in _STOPS),
        _STOPPING,
        held=_NO,
    ),
    RefusedSetting("pld_makes_the_number", ("privacy.accountant",), _GDP, values="gdp|f-?dp|clt"),
    RefusedSetting("pld_makes_the_number", ("privacy.accountant",), _RDP, values="rdp|renyi|moments|z?cdp"),
    RefusedSetting("pld_makes_the_number", ("privacy.accountant",), _ONE, held="pld"),
    RefusedSetting("every_release_is_charged", ("privacy.adaptive_clipping",), _CHARGED, held=_NO),
    RefusedSetting("every_release_is_charged", ("privacy.clip_norm",), _CHARGED, values=_OF_N + "|median|quantile"),
    RefusedSetting("every_release_is_charged", ("privacy.ledger",), _CHARGED, held=_YES),
)


def refusal_of(path: Path, value: Any, *, claimed: bool = True) -> str | None:
    """What to tell a reader who wrote ``value`` at ``path``, which the schema does not take; None: nothing special.

    Args:
        path: Of the setting in the document.
        value: As read.
        claimed: Whether the policy makes a privacy claim.

    >>> refusal_of(("privacy", "shuffle"), False)
    'holds always and is no setting (rule patients_are_poisson_sampled); remove it'
    """
    name, word = dotted(path), _word(value)
    for entry in REFUSED:
        if name in entry.settings and (claimed or entry.always):
            if re.fullmatch(entry.held, word):
                return f"holds always and is no setting (rule {entry.rule}); remove it"
            if re.fullmatch(entry.values, word):
                return f"refused ({entry.rule}): {entry.reason}"
    return None


def _word(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).casefold().replace(" ", "")
