"""DATASHEET.md: the questions that a datasheet for datasets asks, answered from what leaves the house anyway.

Sources are the policy's public settings, archive.json, the audit's extract and the privacy statement; no other file is
read, so the page cannot say more than they do. What none of them records is named as not recorded.

Source: Gebru et al., Datasheets for Datasets, CACM 2021; its seven headings, "collection" being synthesis here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from synthrelease.policy.schema import Policy
from synthrelease.records.findings import Criterion
from synthrelease.release.pages import FORBIDDEN, bullets, guidance_warning, line
from synthrelease.release.statement.facts import Statement
from synthrelease.release.statement.words import parameters, people, together, up

_GREY = {"header": "by each image's own window", "full": "from the full range that its file can store"}
_BLOCKED = {True: "required", False: "informs"}


def datasheet_page(
    policy: Policy,
    archive: Mapping[str, Any],
    audit: Mapping[str, Any],
    statement: Statement,
    now: datetime,
    expires_on: datetime,
) -> str:
    """The whole page, Markdown.

    Args:
        policy: Only what it says in public is told: neither the operator nor the cohort's folder.
        archive: archive.json.
        audit: What of audit.json may leave, see :func:`synthrelease.release.extracts.audit_extract`.
        statement: As it may be handed on.
        now: The time of release.
        expires_on: When it ends.
    """
    product = statement.product
    sections = {
        "Motivation": _motivation(policy),
        "Composition": _composition(policy, archive),
        "Collection, which is synthesis": _synthesis(policy, statement),
        "Preprocessing and labelling": _preprocessing(policy, archive),
        "Privacy": _privacy(statement),
        "What the audit looked for, and its limits": _audit(audit),
        "Uses": _uses(policy),
        "Distribution": (
            f"Sharing: {line(people(product))}.",
            f"Released on {now:%Y-%m-%d}, valid until {expires_on:%Y-%m-%d} or until withdrawn. Terms: TERMS.md; licence "
            f"named for the archive: {line(policy.archive.license)}",
        ),
        "Maintenance": (
            f"Contact: {line(product.contact)}. Custodian of the cohort: {line(product.curator)}.",
            "A pack never changes after it is sealed: a correction is a new release with another root digest. RELEASE.md tells "
            "how to check this copy.",
            "Whoever finds an image that seems to show a real person tells the contact without delay.",
        ),
    }
    body = "\n".join(f"## {title}\n\n{_body(parts)}\n" for title, parts in sections.items())
    simulated = "\nThe cohort is simulated: no person stands behind its patients.\n" if product.simulated else ""
    return f"# Datasheet: {line(policy.release.name)}\n{simulated}\n{body}"


def _motivation(policy: Policy) -> tuple[str, ...]:
    return (
        f"Made for: {line(policy.purpose)}",
        f"Made by the custodian of the cohort, {line(policy.roles.custodian)}, so that others can work with images of this kind "
        "without receiving those of patients.",
        "Not recorded here: funding, ethics approval, and whether patients were asked. The contact can tell.",
    )


def _composition(policy: Policy, archive: Mapping[str, Any]) -> tuple[str, ...]:
    classes = ", ".join(f"{line(name)} {count}" for name, count in sorted(archive.get("class_counts", {}).items()))
    segments = ", ".join(line(name) for name in archive.get("segments", []))
    size, a_patient = archive.get("resolution"), archive.get("images_per_patient", 1)
    spacing = " x ".join(f"{float(value):g}" for value in archive.get("spacing_mm", []))
    return (
        f"{archive.get('images', 0)} synthetic images, each its own instance; {a_patient} for each synthetic patient. They "
        "were drawn one by one: images filed under one synthetic patient share a class and no anatomy.",
        f"{line(policy.cohort.body_part)} {line(policy.cohort.modality)}, {size} x {size} pixels"
        + (f", {spacing} mm apart" if spacing else "")
        + f"; DICOM image class {line(str(archive.get('image_class', 'DX')))}, {archive.get('bits', 12)} bits.",
        f"Labels by class: {classes or 'not counted'}. Shares are a setting; they are not those of the cohort.",
        f"Masks: {segments or 'none'}, as DICOM segmentations.",
        f"{archive['manifest']['files']} files, {archive['manifest']['bytes']} bytes. labels.csv has a row an image; "
        "croissant.json describes its columns. Every object says Synthetic Data (0008,001C) = YES.",
        ("" if guidance_warning(policy) else "No image, mask, label or header value is that of a person. ")
        + "Names, numbers, dates and identifiers are invented by rule. "
        "There is no split into training and test, and no relation between instances but the synthetic patient.",
    )


def _synthesis(policy: Policy, statement: Statement) -> tuple[str, ...]:
    product = statement.product
    return (
        f'Sampled from a generator ("{line(product.generator)}") that was trained on the cohort "{line(product.cohort)}". Images and '
        "masks come out of it together; labels were drawn first, by the shares that the policy sets"
        + (
            " from class counts released under the privacy claim." if policy.archive.class_shares == "released" else "."
        ),
        guidance_warning(policy)
        or "Sampling reads the trained generator and nothing else: no real image, mask, label or header is at hand.",
        f"In the cohort, {line(product.identity)}." if product.identity else "",
        f"Made by {line(statement.versions['trained_by'])}. The seed of sampling stands in evidence/archive.json; the noise of "
        "privacy has none.",
    )


def _preprocessing(policy: Policy, archive: Mapping[str, Any]) -> tuple[str, ...]:
    window = policy.cohort.window
    grey = f"from {window.low:g} to {window.high:g}" if window.mode == "fixed" else _GREY[window.mode]
    return (
        f"Real images were mapped to grey {grey}, a rule of the policy and not measured on the cohort, and brought to "
        f"{policy.cohort.resolution} x {policy.cohort.resolution} pixels for training.",
        f"Synthetic images left out after sampling: {archive.get('filtered', 0)}. None was chosen or mended by hand.",
        "A label is the class that an image was drawn for. Nobody looked at the image to confirm it.",
    )


def _privacy(statement: Statement) -> tuple[str, ...]:
    guarantee, spending = statement.guarantee, statement.spending
    if guarantee is None:
        return (
            "**No formal guarantee.** The generator was trained without differential privacy: nothing bounds what the archive tells "
            "of one patient. Only the audit below speaks to that, for the attacks that it tries.",
        )
    every = (
        "What all runs on the cohort cost together is not known here."
        if spending is None
        else f"All runs on the cohort together ({spending.runs}): {together(spending.epsilon, spending.delta)}."
    )
    return (
        f"({parameters(guarantee)})-differentially private for the addition or removal of all images, masks, labels and header "
        f"fields of any one {line(guarantee.unit)}. Under replace-one adjacency: epsilon {up(guarantee.replace_one_epsilon, 3)}.",
        line(guarantee.strength),
        every,
        "It does not cover: " + "; ".join(line(each) for each in statement.scope.does_not_cover) + ".",
        "In full: STATEMENT.txt; in figures: evidence/dp_claim.json.",
    )


def _audit(audit: Mapping[str, Any]) -> tuple[str, ...]:
    rows = "\n".join(
        f"| {line(str(finding['question']))} | {line(str(finding['verdict']))} | {_BLOCKED[bool(finding['required'])]} | "
        f"{_smallest(finding)} |"
        for finding in audit["findings"]
    )
    asked = {str(finding["criterion"]) for finding in audit["findings"]}
    unasked = [criterion.value.replace("_", " ") for criterion in Criterion if criterion.value not in asked]
    return (
        "| Question | Verdict | | Smallest effect it could have seen |\n|---|---|---|---|\n" + rows,
        f"Required questions decide; the others inform. Not asked at all: {', '.join(unasked) or 'nothing of what the tool knows'}.",
        "A passed audit shows that these attacks did not succeed here. It does not show that no attack can, and it clears nobody: "
        "whether the archive counts as personal data is a judgement of people about a context.",
        "Figures with intervals and thresholds: evidence/audit.json and evidence/report-external.html.",
    )


def _smallest(finding: Mapping[str, Any]) -> str:
    power = finding.get("power") or {}
    smallest = power.get("smallest_detectable")
    return "not stated" if smallest is None else line(f"{float(smallest):.3g} {power.get('unit') or ''}".strip())


def _uses(policy: Policy) -> tuple[str, ...]:
    return (
        f"Meant for: {line(policy.purpose)}",
        "Methods, pipelines and teaching can be tried on it; results on it do not carry over to patients unless they are shown on "
        "patients.",
        "Rare findings and small groups may be missing or look unlike real ones; biases of the cohort carry over.",
        "Forbidden:\n\n" + bullets(FORBIDDEN),
    )


def _body(parts: tuple[str, ...]) -> str:
    return "\n\n".join(part for part in parts if part)
