"""What of each record may leave the house: named fields, rounded figures, no path, no person beyond the signatures.

An extract keeps the shape of its record and adds ``extract_of``: the record's name and the digest of its bytes,
which is the digest that the approvers signed. archive.json alone leaves as it is, byte for byte: it is made without any
private file, and whole it proves that the archive in the pack is the one that was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.policy.loader import resolved
from synthrelease.policy.places import places, replaced
from synthrelease.policy.schema import Policy
from synthrelease.records.coarse import coarse_audit

EXTRACT = "synthrelease.extract/1"
WITHHELD = "withheld"

# A name of a place on somebody's machine: /a/b, ~/a, C:\a, file:... ; a fraction or a URL is none.
_PLACE = re.compile(r"(?<![\w:/.\-])(?:/[\w.\-~@]+){2,}|(?<![\w])~/|\b[A-Za-z]:\\|\bfile:", re.ASCII)
_PRIVATE_KEYS = re.compile(r"(^|_)(cohort|path|paths|folder|source|host|hostname|user|username|patient_ids?|uids?)$")
_FIELDS = {
    "plan.json": ("schema", "parents", "privacy", "audit", "ledger", "warnings", "versions"),
    "training.json": (
        *("schema", "run", "parents", "privacy", "generator", "guidance", "steps", "seed", "seeds", "versions"),
    ),
}
_ARCHIVE = frozenset(
    {
        *("schema", "parents", "release_name", "edition", "archive_digest", "manifest", "size_bytes"),
        *(
            "software_version",
            "versions",
            "images",
            "patients",
            "images_per_patient",
            "segmentations",
            "reports",
            "class_counts",
            "class_shares",
            "coverage",
            "segments",
        ),
        *("image_class", "bits", "value_range", "resolution", "spacing_mm", "masks", "seed", "filtered", "license"),
    }
)


def names_a_place(text: str) -> bool:
    """Whether a text holds a path on a machine.

    >>> names_a_place("read from /data/hospital/cxr"), names_a_place("at most 1/2, see https://example.org/a/b")
    (True, False)
    """
    return _PLACE.search(text) is not None


def without_places(value: Any, private: Iterable[str] = ()) -> Any:
    """A copy of a JSON-like value in which paths, hosts and users are withheld.

    Args:
        value: The value.
        private: Further texts that must not leave, for instance the cohort's folder and the host's name.
    """
    texts = tuple(text for text in private if text)
    if isinstance(value, Mapping):
        return {
            key: WITHHELD if _PRIVATE_KEYS.search(key) and item is not None else without_places(item, texts)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_places(item, texts) for item in value]
    if isinstance(value, str) and (names_a_place(value) or any(text in value for text in texts)):
        return WITHHELD
    return value


def policy_extract(policy: Policy, digest: str, private: Iterable[str] = ()) -> dict[str, Any]:
    """The policy with every default spelled out, without the name of the operator and without any place: at the settings that
    name one, and in the texts, which may.

    Args:
        policy: The policy.
        digest: Digest of the bytes of policy.resolved.json.
        private: See :func:`without_places`.
    """
    values, texts = resolved(policy), tuple(private)
    for setting in (*places(policy), ("roles", "operator")):
        values = replaced(values, setting, WITHHELD)
    # Section by section: the cohort's, as a whole, is no private text.
    extract = {section: without_places(value, texts) for section, value in values.items()}
    return {**extract, "extract_of": _origin("policy.resolved.json", digest)}


def record_extract(name: str, record: Mapping[str, Any], digest: str, private: Iterable[str] = ()) -> dict[str, Any]:
    """The public fields of plan.json or training.json.

    Args:
        name: Which record.
        record: The record, whole.
        digest: Digest of the record's bytes.
        private: See :func:`without_places`.
    """
    kept = {field: record[field] for field in _FIELDS[name] if field in record}
    if "parents" not in kept and "policy" in (record.get("digests") or {}):
        kept["parents"] = {"policy": record["digests"]["policy"]}  # not the cohort's digest: it would confirm a guess
    extract: dict[str, Any] = without_places(kept, private)
    return {**extract, "extract_of": _origin(name, digest)}


def require_public_archive(record: Mapping[str, Any], private: Iterable[str] = ()) -> None:
    """Let archive.json leave only when it has nothing but the fields known here and names no place.

    Raises:
        IntegrityError: It has another field, or text that must not leave.
    """
    unknown = sorted(set(record) - _ARCHIVE)
    if unknown:
        raise IntegrityError(
            f"archive.json has fields that nobody said may leave: {', '.join(ascii(key)[1:-1] for key in unknown[:5])}",
            fix="Sample again with this version of synthrelease.",
        )
    if without_places(record, private) != record:
        raise IntegrityError("archive.json names a place or a machine", fix="Remove it from the policy it came from.")


def audit_extract(audit: Mapping[str, Any], digest: str, private: Iterable[str] = ()) -> dict[str, Any]:
    """Coarse outcomes, see :mod:`synthrelease.records.coarse`."""
    extract: dict[str, Any] = without_places(coarse_audit(audit), private)
    return {**extract, "extract_of": _origin("audit.json", digest)}


def _origin(name: str, digest: str) -> dict[str, str]:
    return {"schema": EXTRACT, "record": name, "digest": digest}
