"""The two pages that a recipient reads first: RELEASE.md and TERMS.md. Plain Markdown from public settings."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from synthrelease.errors import UsageError
from synthrelease.policy.generators import UmGenerator
from synthrelease.policy.schema import Policy
from synthrelease.policy.shipped import shipped_file
from synthrelease.records.digests import digest_of_file
from synthrelease.records.findings import Criterion, Verdict
from synthrelease.release.checking import CHECK_FILES, CHECK_SIGNATURE, KEY_ID

_LIMITS = (
    "Every image is synthetic. None may be used for diagnosis, treatment or any other clinical decision.",
    "Rare findings and small groups may be missing or look unlike real ones; biases of the cohort carry over.",
    "The audit looks for the leaks named in evidence/report-external.html. What it did not look for, it did not rule out.",
    "Whether the archive counts as personal data is a judgement of people about a context. This tool does not make it.",
)
FORBIDDEN = (
    "Do not try to identify a person, and do not link the archive with other data for that purpose.",
    "Do not pass the archive on beyond the recipients named here.",
    "Do not use it for diagnosis, treatment or any other clinical decision about a person.",
    "Do not train a model to detect or reconstruct the records that the generator was trained on.",
)
"""What a recipient may not do; in TERMS.md and in the datasheet."""

_REAL_MAPS = (
    "**Maps of real images guided the sampling** (generator.guidance: real): every image was painted after the map of a patient "
    "who was set apart for it, and leads back to that patient. For use in the house."
)

_DUTIES = (
    "Tell the contact without delay when an image seems to show a real person, or when the archive is lost.",
    "Delete the archive and its copies on expiry, or when the release is withdrawn.",
    "Keep the marking Synthetic Data (0008,001C) = YES in every object and in what is derived from it.",
)

_UNSIGNED = """
> **NOT SIGNED.** Nothing in this folder proves who sealed it, and whoever can change it can make it fit together again.
> Trust it only as far as the way on which it reached you.
"""


def fitness(audit: dict[str, Any]) -> str:
    """What the audit says of fidelity, in words: it neither clears nor blocks a release, and a recipient must know."""
    short = [
        str(finding["id"])
        for finding in audit["findings"]
        if finding["criterion"] == Criterion.FIDELITY and finding["verdict"] != Verdict.PASS
    ]
    verdict = str(audit.get("fidelity", Verdict.INCONCLUSIVE))
    return f"{verdict}; not shown by {', '.join(short)}" if short else verdict


def privacy_audit(audit: dict[str, Any]) -> str:
    """What the audit required and what it left open, in words: a profile that asks little passes easily."""
    left = [
        str(finding["id"])
        for finding in audit["findings"]
        if finding["criterion"] != Criterion.FIDELITY and finding["verdict"] != Verdict.PASS and not finding["required"]
    ]
    told = f"passed every check that {_profile(audit)} requires."
    return f"{told} Not required and not passed: {', '.join(left)}." if left else told


def _profile(audit: dict[str, Any]) -> str:
    name, digest = str(audit.get("profile", "")), str((audit.get("digests") or {}).get("audit_profile", ""))
    try:
        shipped = digest_of_file(shipped_file("audits", Path(name).name))
    except UsageError:
        shipped = ""
    if digest and digest == shipped:
        return f"the profile {name}"
    return f"a profile of the house's own (SHA-256 {digest[:12] or 'not recorded'})"


def release_page(
    policy: Policy,
    archive: dict[str, Any],
    audit: dict[str, Any],
    claim: str,
    approvers: tuple[str, ...],
    now: datetime,
    expires_on: datetime,
    signer: str | None,
) -> str:
    """RELEASE.md: what, from what, for whom, until when, known limits, contact, and how to check the copy.

    Args:
        signer: Id of the key that signs the pack; None: the page begins by saying that nobody does.
    """
    classes = ", ".join(f"{line(name)} {count}" for name, count in sorted(archive.get("class_counts", {}).items()))
    return f"""# {line(policy.release.name)}
{"" if signer else _UNSIGNED}
A synthetic archive: {archive.get("images", 0)} images with segmentations ({line(", ".join(archive.get("segments", []))) or "none"}).

| | |
|---|---|
| Made for | {line(policy.purpose)} |
| Made from | the cohort "{line(policy.cohort.name)}", {line(policy.cohort.body_part)} {line(policy.cohort.modality)} |
| Classes | {classes or "not counted"} |
| Sharing | {policy.sharing.tier}: {line("; ".join(policy.sharing.recipients)) or "recipients not named"} |
| Agreement | {line(policy.sharing.agreement) or "none named"} |
| Privacy claim | {line(claim)} In full, with what it does not cover: STATEMENT.txt |
| Datasheet | how it was made, what it is fit for and what not: DATASHEET.md |
| Audit | {line(privacy_audit(audit))} See evidence/report-external.html |
| Fitness for purpose | {line(fitness(audit))} |
| Approved by | {line(", ".join(approvers))} |
| Released on | {now:%Y-%m-%d} |
| Expires on | {expires_on:%Y-%m-%d} |
| Signed with | {f"the key {signer}" if signer else "**nothing: this release is not signed**"} |
| Contact | {line(policy.release.contact) or line(policy.roles.custodian)} |

## Known limits

{bullets(tuple(filter(None, (guidance_warning(policy), *_LIMITS))))}

{_how_to_check(signer)}"""


def guidance_warning(policy: Policy) -> str:
    """That images were painted after maps of real ones; empty where they were not."""
    generator = policy.generator
    return _REAL_MAPS if isinstance(generator, UmGenerator) and generator.guidance == "real" else ""


def terms_page(policy: Policy, expires_on: datetime) -> str:
    """TERMS.md: what recipients agree to."""
    return f"""# Terms of use: {line(policy.release.name)}

Under agreement: {line(policy.sharing.agreement) or "none named; these terms stand alone"}.
For: {line("; ".join(policy.sharing.recipients)) or "the recipients of the release"}.
Valid until {expires_on:%Y-%m-%d}, or until withdrawn.

{bullets((*FORBIDDEN, *_DUTIES))}

Contact: {line(policy.release.contact) or line(policy.roles.custodian)}.
"""


def _how_to_check(signer: str | None) -> str:
    if signer is None:
        return f"""## Check this copy

`synthrelease verify FOLDER --expect ROOT_DIGEST`, with the root digest that the sender gave you by another way. Without
synthrelease, in this folder; it shows that the files fit together, **not who made them**:

```sh
{CHECK_FILES}```
"""
    return f"""## Check this copy

`synthrelease verify FOLDER --key KEY.pub.pem`, with the public key that the sender gave you by another way than this
folder. Without synthrelease, in this folder, with OpenSSL 3 and the usual commands of a Unix system:

```sh
{CHECK_SIGNATURE}```

Nothing is checked unless its last line is `all as signed`. The id of the sender's key must be
`{signer}`; the id of a key file is what this prints:

```sh
{KEY_ID}```
"""


def line(text: str) -> str:
    """A text that stays inside of its cell: one line, and nothing that Markdown or HTML would act upon.

    >>> line("a | <b>")
    'a \\\\| &lt;b&gt;'
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\|`*_[]":
        flat = flat.replace(mark, "\\" + mark)
    return flat


def bullets(items: tuple[str, ...]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {item}" for item in items)
