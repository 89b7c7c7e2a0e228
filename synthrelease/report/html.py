"""The report as one HTML file: no network, no script in the external edition, readable on paper."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.coarse import coarse_audit
from synthrelease.records.findings import Verdict
from synthrelease.report import charts, pictures, words
from synthrelease.report.figures import Figures
from synthrelease.report.inputs import ContactSheet, Edition, LookAlike, ReportInputs
from synthrelease.report.power_sheet import history_words, power_sheet
from synthrelease.report.privacy_claim import claim_sheet
from synthrelease.report.questions import conformance_group, fidelity_group, privacy_groups


@dataclass(frozen=True)
class _Tile:
    source: str
    label: str
    size: tuple[int, int]
    outlines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Pair:
    number: int
    control: bool
    name: str
    synthetic: str
    train: str
    holdout: str
    gap: str
    similarity_train: str
    similarity_holdout: str
    patch: str


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("synthrelease.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def render(edition: Edition, inputs: ReportInputs) -> str:
    """Write the report.

    Args:
        edition: Internal (shows real patients, stays in the house) or external.
        inputs: Records and pictures. The external edition must not be handed any look-alike.

    Returns:
        A complete HTML document.

    Raises:
        UsageError: Look-alikes or the picture of styles were handed over for the external edition.
        IntegrityError: A text that is private would be shown in the external edition.
    """
    if edition is Edition.EXTERNAL and inputs.styles:
        raise UsageError(
            "the picture of styles holds images that no check has seen, and was handed to the external edition",
            fix="Render the internal edition, or leave the picture out.",
        )
    if edition is Edition.EXTERNAL and inputs.pairs:
        raise UsageError(
            "look-alike pairs show real patients and were handed to the external edition",
            fix="Render the internal edition, or leave the pairs out.",
        )
    figures = Figures(edition)
    if edition is Edition.EXTERNAL:
        inputs = replace(inputs, audit=coarse_audit(inputs.audit))
    audit = inputs.audit
    verdict = Verdict(audit["verdict"])
    findings = audit["findings"]
    script = _asset("pairs.js") if edition is Edition.INTERNAL and inputs.pairs else ""
    title, sentence = words.DECISIONS[verdict]
    page = (
        _environment()
        .get_template("report.html")
        .render(
            edition=edition.value,
            internal=edition is Edition.INTERNAL,
            policy_of_page=_content_policy(script),
            style=Markup(_asset("style.css")),
            script=Markup(script),
            words=words,
            version=str((audit.get("versions") or {}).get("synthrelease", "")),
            date=inputs.date,
            digests=dict(inputs.digests),
            decision={"title": title, "sentence": sentence, "word": words.VERDICTS[verdict], "reason": audit["reason"]},
            fitness=words.VERDICTS[Verdict(audit["fidelity"])],
            conditions=_conditions(inputs),
            history=history_words(audit),
            power=power_sheet(audit.get("power"), figures),
            about=_about(inputs, figures),
            classes=_class_chart(inputs.archive),
            approvals=[_approval(entry) for entry in inputs.approvals],
            groups=privacy_groups(findings, figures),
            claim=claim_sheet(inputs.training, inputs.ledger, figures),
            fidelity=fidelity_group(findings, figures),
            conformance=conformance_group(findings, figures),
            tiles=_tiles(inputs.sheet),
            styles=pictures.of_png(inputs.styles) if inputs.styles else "",
            segments=tuple(inputs.sheet.segments) if inputs.sheet else (),
            pairs=[_pair(number, pair, figures) for number, pair in enumerate(inputs.pairs, start=1)],
            likeness=_likeness(inputs),
            method=_method(inputs),
        )
    )
    shown = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    if edition is Edition.EXTERNAL and any(text and text in shown for text in inputs.private):
        raise IntegrityError(
            "a private text would be shown in the external edition",
            fix="Remove it from the policy or finding it came from.",
        )
    return page


def _content_policy(script: str) -> str:
    """What a browser may load: pictures inside of the page, its own style, and the one script by its digest."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"script-src 'sha256-{digest}'; " if script else ""
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; {scripts}base-uri 'none'; form-action 'none'"


def _conditions(inputs: ReportInputs) -> list[str]:
    """What is still open, in words; also what the reader must not overlook."""
    conditions = [str(remark) for remark in inputs.audit.get("remarks") or ()]
    if warning := (inputs.training.get("guidance") or {}).get("warning"):
        conditions.append(f"{warning}.")
    if inputs.audit["fidelity"] != Verdict.PASS:
        conditions.append("Fitness for purpose was not shown: see Fidelity.")
    privacy = inputs.training.get("privacy") or {}
    if privacy.get("mode") == "none" or privacy.get("epsilon") is None:
        conditions.append("There is no formal privacy guarantee behind this archive: see Privacy claim.")
    optional = [f["id"] for f in inputs.audit["findings"] if not f["required"] and f["verdict"] != Verdict.PASS]
    if optional:
        conditions.append(f"Checks that were not required did not pass: {', '.join(map(str, optional))}.")
    current = [entry for entry in inputs.approvals if _covers(entry, inputs)]
    refused = [entry for entry in current if entry.get("event") == "refused"]
    people = {" ".join(str(e["by"]).casefold().split()) for e in current if e.get("event") == "approved"}
    if refused:
        conditions.append("This audit was refused: see Sign-off.")
    elif len(people) < 2 and inputs.audit["verdict"] == Verdict.PASS:
        conditions.append(f"Two approvals by different people are needed; this report shows {len(people)}.")
    return conditions


def _covers(entry: Mapping[str, Any], inputs: ReportInputs) -> bool:
    return (entry.get("digests") or {}).get("audit") == inputs.digests.get("audit")


def _approval(entry: Mapping[str, Any]) -> dict[str, str]:
    return {
        "event": "Approved" if entry.get("event") == "approved" else "Refused",
        "by": str(entry.get("by", "")),
        "role": str(entry.get("role", "")),
        "statement": str(entry.get("statement", "")),
        "time": str(entry.get("time", ""))[:10],
        "expires_on": str(entry.get("expires_on") or "")[:10],
        "audit": str((entry.get("digests") or {}).get("audit", ""))[:12],
    }


def _about(inputs: ReportInputs, figures: Figures) -> list[tuple[str, str]]:
    """What was made, from whom, for whom."""
    policy, archive = inputs.policy, inputs.archive
    sharing, cohort = policy.get("sharing") or {}, policy.get("cohort") or {}
    counts = ", ".join(
        f"{name.replace('_', ' ')} {figures.count(value, real='synthetic' not in name)}"
        for name, value in sorted((inputs.audit.get("counts") or {}).items())
    )
    rows: list[tuple[str, Any]] = [
        ("Release", archive.get("release_name") or (policy.get("release") or {}).get("name")),
        ("Purpose", policy.get("purpose")),
        ("Archive", _archive_words(archive, figures)),
        ("Made from", _cohort_words(cohort)),
        ("Counts", counts),
        ("Generator", (policy.get("generator") or {}).get("name")),
        ("For", "; ".join(sharing.get("recipients") or ())),
        ("Sharing tier", sharing.get("tier")),
        ("Agreement", sharing.get("agreement")),
        ("Custodian", (policy.get("roles") or {}).get("custodian")),
        ("Ends", _ends(policy)),
        ("Contact", (policy.get("release") or {}).get("contact")),
    ]
    if not policy and not archive:
        # Folders of unknown origin: of what nobody stated there is too much to list.
        rows[0] = ("Release", "Archive made by another tool")
        rows[1] = ("Purpose", "Judged alone, against the folders that were given")
        rows = [(name, value) for name, value in rows if name in ("Release", "Purpose", "Archive", "Counts")]
    return [(name, str(value) if value else "not stated") for name, value in rows]


def _archive_words(archive: Mapping[str, Any], figures: Figures) -> str:
    if not archive:
        return "made by another tool"
    size = archive.get("resolution")
    segments = ", ".join(archive.get("segments") or ()).replace("_", " ") or "none"
    return f"{figures.count(archive.get('images'), real=False)} images of {size} × {size} pixels; segments: {segments}"


def _cohort_words(cohort: Mapping[str, Any]) -> str:
    return f"cohort {cohort.get('name', '')}, {cohort.get('body_part', '')} {cohort.get('modality', '')}".strip()


def _ends(policy: Mapping[str, Any]) -> str:
    months = (policy.get("release") or {}).get("expires_after_months")
    return f"{months} months after the first approval" if months else ""


def _class_chart(archive: Mapping[str, Any]) -> Markup:
    counts = {str(name): int(count) for name, count in (archive.get("class_counts") or {}).items()}
    total, most = sum(counts.values()), max(counts.values(), default=0)
    if not total:
        return Markup("")
    rows = [(name, count / most, f"{count} ({100 * count / total:.0f} %)") for name, count in counts.items()]
    return charts.shares(rows, "Synthetic images in each class")


def _tiles(sheet: ContactSheet | None) -> list[_Tile]:
    if sheet is None:
        return []
    tiles = []
    for index, (image, label) in enumerate(zip(sheet.images, sheet.labels, strict=True)):
        masks = () if sheet.masks is None else sheet.masks[index]
        paths = tuple(
            (name, pictures.outline(mask)) for name, mask in zip(sheet.segments, masks, strict=sheet.masks is not None)
        )
        tiles.append(_Tile(pictures.picture(image), str(label), (image.shape[0], image.shape[1]), paths))
    return tiles


def _pair(number: int, pair: LookAlike, figures: Figures) -> _Pair:
    height, width = pair.synthetic.shape
    patch = ""
    if pair.patch is not None:
        row, column, high, wide = pair.patch
        patch = (
            f"top:{100 * row / height:.2f}%;left:{100 * column / width:.2f}%;"
            f"height:{100 * high / height:.2f}%;width:{100 * wide / width:.2f}%"
        )
    return _Pair(
        number=number,
        control=pair.control,
        name=pair.name,
        synthetic=pictures.stamped(pair.synthetic),
        train=pictures.stamped(pair.nearest_train),
        holdout=pictures.stamped(pair.nearest_holdout),
        gap=pictures.difference(pair.synthetic, pair.nearest_train),
        similarity_train=figures.number(pair.similarity_train),
        similarity_holdout=figures.number(pair.similarity_holdout),
        patch=patch,
    )


def _likeness(inputs: ReportInputs) -> Markup:
    if len(inputs.pairs) < 2:
        return Markup("")
    return charts.likeness(
        [
            (
                pair.similarity_holdout,
                pair.similarity_train,
                pair.control,
                f"{'control' if pair.control else 'pair'} {number}",
            )
            for number, pair in enumerate(inputs.pairs, start=1)
        ]
    )


def _method(inputs: ReportInputs) -> dict[str, Any]:
    audit = inputs.audit
    return {
        "rows": [
            ("Audit profile", str(audit.get("profile", ""))),
            ("Audit seed", str(audit.get("seed", ""))),
            ("Audit format", str(audit.get("schema", ""))),
            *[(f"Version of {name}", str(value)) for name, value in sorted((audit.get("versions") or {}).items())],
        ],
        "digests": [
            *[(f"record {name}", digest) for name, digest in sorted(inputs.digests.items())],
            *[(f"judged {name}", str(digest)) for name, digest in sorted((audit.get("digests") or {}).items())],
        ],
    }
