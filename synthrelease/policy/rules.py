"""Rules across settings, each a named function with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from synthrelease.policy import drai_rules, findings_rules, transform_rules, um_rules
from synthrelease.policy.delta import largest_delta
from synthrelease.policy.generators import MomentsGenerator, PgganGenerator, Stepped, UmGenerator
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]

UNGROWN = 128
"""Pixels a side that every generator takes."""


def private_mode_states_its_claim(policy: Policy) -> Iterator[Breach]:
    """An epsilon without delta and a public normaliser cannot be computed, let alone kept."""
    if policy.privacy.mode == "private":
        for name in ("epsilon", "delta", "expected_patients"):
            if getattr(policy.privacy, name) is None:
                yield (
                    ("privacy", name),
                    "needed when privacy.mode is private: a public constant, never computed from the cohort",
                )


def no_claim_without_privacy(policy: Policy) -> Iterator[Breach]:
    """An epsilon in a policy that adds no noise would be read as a promise."""
    if policy.privacy.mode == "none" and policy.privacy.epsilon is not None:
        yield (
            ("privacy", "epsilon"),
            "privacy.mode is none, so no epsilon may be stated; remove it or set mode: private",
        )


def delta_is_small_for_the_cohort(policy: Policy) -> Iterator[Breach]:
    """delta is the chance of total failure; at 1/patients it would allow to publish one patient whole."""
    delta, patients = policy.privacy.delta, policy.privacy.expected_patients
    if policy.privacy.mode != "private" or delta is None or patients is None:
        return
    largest = largest_delta(patients)
    if delta > largest:
        yield ("privacy", "delta"), f"at most 1/(10 * expected_patients) = {largest:.1e}, got {delta:.1e}"


def player_shares_are_a_distribution(policy: Policy) -> Iterator[Breach]:
    """Shares split what is there; they mean something only where each network is clipped on its own."""
    shares = policy.privacy.player_shares
    if shares is None:
        return
    if policy.privacy.clipping != "separate":
        yield ("privacy", "player_shares"), "belongs to clipping: separate; a joint vector has one share"
    if any(share <= 0 for share in shares.values()) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        yield ("privacy", "player_shares"), f"shares must be above 0 and sum to 1, got {sum(shares.values()):g}"


def lifetime_covers_one_run(policy: Policy) -> Iterator[Breach]:
    """A cap below the run's own epsilon would refuse every run."""
    cap, epsilon = policy.privacy.lifetime_epsilon, policy.privacy.epsilon
    if cap is not None and epsilon is not None and cap < epsilon:
        yield (
            ("privacy", "lifetime_epsilon"),
            f"below privacy.epsilon ({epsilon:g}), so no run could ever start",
        )


def budget_pays_for_gradient_steps(policy: Policy) -> Iterator[Breach]:
    """All of the budget on moments leaves nothing for private steps."""
    privacy = policy.privacy
    if privacy.mode == "private" and isinstance(policy.generator, Stepped):
        if privacy.steps > 0 and privacy.moments_share >= 1:
            yield ("privacy", "moments_share"), "must be below 1 when the generator takes private steps"
        if privacy.steps == 0 and privacy.moments_share < 1:
            yield (
                ("privacy", "moments_share"),
                "must be 1 when privacy.steps is 0, or budget is paid for nothing",
            )


def networks_are_trained(policy: Policy) -> Iterator[Breach]:
    """A network that takes no step paints noise, whatever generator it is of."""
    privacy, generator = policy.privacy, policy.generator
    if not isinstance(generator, Stepped):
        return
    private = privacy.mode == "private"
    if not (generator.warmup_steps or privacy.steps if private else generator.steps):
        yield (
            ("generator", "warmup_steps" if private else "steps"),
            "must be above 0: nothing else trains this generator, and it would make noise; for an archive without gradient "
            "steps choose generator.name: moments",
        )


def pseudo_masks_wait_for_a_warm_up(policy: Policy) -> Iterator[Breach]:
    """Their weight rises in the warm-up; without one, a painter that has learned no mask teaches itself from the first step."""
    privacy, generator = policy.privacy, policy.generator
    if privacy.mode != "private" or not privacy.steps or not isinstance(generator, UmGenerator):
        return
    if policy.cohort.segments and generator.pseudo_weight and not generator.warmup_steps:
        yield (
            ("generator", "warmup_steps"),
            "must be above 0 when privacy.mode is private and the cohort has segments: without a warm-up, which costs no budget, "
            "pseudo-masks count in full before the painter has learned any mask; or set generator.pseudo_weight: 0",
        )


def private_networks_read_one_patient(policy: Policy) -> Iterator[Breach]:
    """How much a batch varies is a statistic of several patients: no clipping bounds what one of them adds to it."""
    generator = policy.generator
    if policy.privacy.mode == "private" and isinstance(generator, PgganGenerator) and generator.minibatch_stddev:
        yield (
            ("generator", "minibatch_stddev"),
            "must be false when privacy.mode is private: it mixes the patients of a batch, whose parts could then not be "
            "clipped one by one",
        )


def guides_have_something_to_learn_from(policy: Policy) -> Iterator[Breach]:
    """Without a claim no moments are sampled, so nothing would teach such a guide."""
    generator = policy.generator
    if isinstance(generator, PgganGenerator) and generator.guide == "moments" and policy.privacy.mode == "none":
        yield ("generator", "guide"), "moments belongs to privacy.mode: private; use trained"


def large_images_are_grown(policy: Policy) -> Iterator[Breach]:
    """Other generators paint at full size from the first step on, and were neither built nor measured for large images."""
    resolution, name = policy.cohort.resolution, policy.generator.name
    if resolution > UNGROWN and not isinstance(policy.generator, PgganGenerator):
        yield (
            ("cohort", "resolution"),
            f"{resolution} px need a generator that grows to them, and '{name}' does not: use generator.name: pggan, or "
            f"at most {UNGROWN} px",
        )


def basis_fits_the_resolution(policy: Policy) -> Iterator[Breach]:
    """A cosine basis cannot have more frequencies than pixels."""
    generator = policy.generator
    for name in ("image_frequencies", "mask_frequencies"):
        if getattr(generator, name) > policy.cohort.resolution:
            yield ("generator", name), f"at most cohort.resolution ({policy.cohort.resolution})"


def names_are_distinct(policy: Policy) -> Iterator[Breach]:
    """A class or segment named twice has no meaning."""
    for name in ("classes", "segments"):
        words = getattr(policy.cohort, name)
        for index, word in enumerate(words):
            if word in words[:index]:
                yield ("cohort", name, index), f"'{word}' is listed twice"


def phantom_classes_exist(policy: Policy) -> Iterator[Breach]:
    """The simulator knows its own findings and organs only."""
    if policy.cohort.source != "phantom":
        return
    known = {"classes": PHANTOM_CLASSES, "segments": PHANTOM_SEGMENTS}
    for name, allowed in known.items():
        for index, word in enumerate(getattr(policy.cohort, name)):
            if word not in allowed:
                yield ("cohort", name, index), f"the phantom has no '{word}'; it knows {', '.join(allowed)}"


def window_is_complete(policy: Policy) -> Iterator[Breach]:
    """A fixed window is two numbers; any other mode has none."""
    window = policy.cohort.window
    given = window.low is not None or window.high is not None
    if window.mode != "fixed" and given:
        yield ("cohort", "window", "mode"), "low and high belong to mode: fixed"
    if window.mode == "fixed" and (window.low is None or window.high is None or window.low >= window.high):
        yield ("cohort", "window", "mode"), "fixed needs low and high, low below high"


def one_source_of_labels(policy: Policy) -> Iterator[Breach]:
    """Two sources may disagree."""
    label = policy.cohort.label
    if label.attribute is not None and label.csv is not None:
        yield ("cohort", "label", "attribute"), "give either csv or attribute, not both"


def class_shares_are_a_distribution(policy: Policy) -> Iterator[Breach]:
    """Shares are public, cover known classes and sum to one."""
    shares = policy.archive.class_shares
    if shares is None or isinstance(shares, str):
        return
    for name in shares:
        if name not in policy.cohort.classes:
            yield (
                ("archive", "class_shares", name),
                f"not a class of this cohort ({', '.join(policy.cohort.classes)})",
            )
    if any(share < 0 for share in shares.values()) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        yield (
            ("archive", "class_shares"),
            f"shares must be at least 0 and sum to 1, got {sum(shares.values()):g}",
        )


def released_shares_are_paid_for(policy: Policy) -> Iterator[Breach]:
    """Under a claim every generator begins with noisy class counts, which the ledger has; without one counts are exact."""
    if policy.archive.class_shares == "released" and policy.privacy.mode != "private":
        yield (
            ("archive", "class_shares"),
            "released needs privacy.mode: private: without a claim class counts have no noise, and the shares of the private "
            "patients would leave uncharged; write a public table, or leave it out for equal shares",
        )


def operator_does_not_approve(policy: Policy) -> Iterator[Breach]:
    """Four eyes: who trained may not sign."""
    operator = policy.roles.operator.casefold().split()
    for index, name in enumerate(policy.roles.approvers):
        if name.casefold().split() == operator:
            yield ("roles", "approvers", index), "the operator may not approve"


def two_approvers(policy: Policy) -> Iterator[Breach]:
    """A release needs two signatures, so a list of one can never be enough."""
    if len({name.casefold() for name in policy.roles.approvers}) == 1:
        yield ("roles", "approvers"), "name at least two people, or leave the list empty"


def sharing_fits_the_protection(policy: Policy) -> Iterator[Breach]:
    """Without a privacy claim only the audit stands between a patient and the recipient."""
    if policy.privacy.mode == "none" and policy.sharing.tier in ("open", "registered"):
        yield (
            ("sharing", "tier"),
            f"'{policy.sharing.tier}' needs privacy.mode: private; use controlled or internal",
        )


def outcomes_are_published_coarsely(policy: Policy) -> Iterator[Breach]:
    """A number is only private when one patient can change it by a known amount; most outcomes have no such amount.

    The split, the patients set aside as duplicates, thresholds at an order statistic and the p-values of permutations
    may all turn on one patient, and the verdict itself is released by releasing.
    """
    if policy.audit.publish == "dp":
        yield (
            ("audit", "publish"),
            "dp is not offered: one patient can change thresholds, duplicates and p-values by any amount, so noise of a "
            "known size would not cover them; use coarse, and leave the audit's files in the house where even that is "
            "too much",
        )


def date_exists(policy: Policy) -> Iterator[Breach]:
    """Written into every object as a DICOM DA value."""
    text = policy.archive.release_date
    month, day = int(text[4:6]), int(text[6:8])
    if not (1 <= month <= 12 and 1 <= day <= 31 and int(text[:4]) >= 1900):
        yield ("archive", "release_date"), f"not a date: {text} (YYYYMMDD)"


PHANTOM_CLASSES = ("normal", "nodule", "effusion", "nodule_and_effusion")
PHANTOM_SEGMENTS = ("right_lung", "left_lung", "heart", "nodule", "effusion")

RULES: tuple[Rule, ...] = (
    private_mode_states_its_claim,
    no_claim_without_privacy,
    delta_is_small_for_the_cohort,
    lifetime_covers_one_run,
    budget_pays_for_gradient_steps,
    networks_are_trained,
    pseudo_masks_wait_for_a_warm_up,
    player_shares_are_a_distribution,
    private_networks_read_one_patient,
    guides_have_something_to_learn_from,
    large_images_are_grown,
    basis_fits_the_resolution,
    names_are_distinct,
    phantom_classes_exist,
    window_is_complete,
    one_source_of_labels,
    class_shares_are_a_distribution,
    released_shares_are_paid_for,
    operator_does_not_approve,
    two_approvers,
    sharing_fits_the_protection,
    outcomes_are_published_coarsely,
    date_exists,
    *findings_rules.RULES,
    *transform_rules.RULES,
    *drai_rules.RULES,
    *um_rules.RULES,
)


def breaches(policy: Policy) -> Iterator[Breach]:
    """Every rule that the policy breaks."""
    for rule in RULES:
        yield from rule(policy)


def shows_several_findings(policy: Policy) -> bool:
    """Whether simulated patients may have several findings at once."""
    return PHANTOM_CLASSES[-1] in policy.cohort.classes


def moments_share(policy: Policy) -> float:
    """Share of the budget that the moments really get: all of it when nothing else is trained."""
    return 1.0 if isinstance(policy.generator, MomentsGenerator) else policy.privacy.moments_share
