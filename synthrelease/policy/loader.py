"""From a policy file to a policy, or to every problem in it; and the digest that names a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthrelease.errors import PolicyError, UsageError
from synthrelease.policy.refused import refusal_of
from synthrelease.policy.rules import breaches
from synthrelease.policy.schema import Policy
from synthrelease.policy.strict import strict_breaches
from synthrelease.policy.strict_yaml import Document, Problem, dotted, read_yaml
from synthrelease.policy.validation import validate
from synthrelease.records.digests import digest_of


def problems_of(text: str, source: str | None = None) -> tuple[Policy | None, list[Problem]]:
    """Read a policy from YAML text.

    Args:
        text: The file's content.
        source: Stands for cohort.source, as ``--cohort`` does; None keeps the policy's own.

    Returns:
        The policy, or None, with all problems: syntax, types, unknown and repeated keys, then rules across settings.
    """
    document = read_yaml(text)
    claimed = _claims(document)
    policy, problems = validate(Policy, document, lambda path, value: refusal_of(path, value, claimed=claimed))
    if policy is None:
        return None, problems
    if source is not None:
        policy = policy.model_copy(update={"cohort": policy.cohort.model_copy(update={"source": source})})
    for path, message in (*breaches(policy), *strict_breaches(policy)):
        place = document.place(path)
        problems.append(Problem(place.line, place.column, dotted(path), message))
    problems.sort()
    return (None, problems) if problems else (policy, [])


def _claims(document: Document) -> bool:
    """Whether a document, right or wrong, is about a private run."""
    privacy = document.value.get("privacy") if isinstance(document.value, dict) else None
    return not (isinstance(privacy, dict) and privacy.get("mode") == "none")


def load_policy(path: Path, source: str | None = None) -> Policy:
    """Read a policy file; ``source`` as for :func:`problems_of`.

    Raises:
        UsageError: The file cannot be read.
        PolicyError: The policy has problems; the message has one line each, ``file:line:col: path: message``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the policy {path}: {error.strerror}", fix="Name a policy file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the policy {path} is not UTF-8 text", fix="Name a policy file.") from error
    policy, problems = problems_of(text, source)
    if policy is None:
        lines = "\n".join(f"{path}:{problem}" for problem in problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        raise PolicyError(lines, fix=f"{count}; `synthrelease check --schema` lists every setting.")
    return policy


def resolved(policy: Policy) -> dict[str, Any]:
    """Every setting spelled out, defaults too, as plain values."""
    return policy.model_dump(mode="json", by_alias=True)


def policy_from(values: dict[str, Any]) -> Policy:
    """The inverse of :func:`resolved`."""
    import json

    return Policy.model_validate_json(json.dumps(values))


def policy_digest(policy: Policy) -> str:
    """SHA-256 over the resolved policy without its cohort folder: the same rules on two machines have one digest."""
    values = resolved(policy)
    values["cohort"]["source"] = "phantom" if policy.cohort.source == "phantom" else "folder"
    return digest_of(values)
