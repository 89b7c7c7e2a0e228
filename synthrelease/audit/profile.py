"""Audit profiles: which checks count, where good ends, and because of what. Read strictly from YAML."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthrelease.errors import PolicyError
from synthrelease.features.extractors import ExtractorChoice
from synthrelease.policy.shipped import is_shipped, shipped_file
from synthrelease.policy.strict_yaml import Problem, dotted, read_yaml
from synthrelease.records.findings import Threshold

_PLAIN = {"missing": "required setting is missing", "extra_forbidden": "unknown setting"}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Limit(_Strict):
    """A number and the reason for it."""

    value: Annotated[float, Field(strict=False)]
    because: Annotated[str, Field(min_length=10)]

    def threshold(self) -> Threshold:
        """As a record."""
        return Threshold(self.value, self.because)


class CheckSettings(_Strict):
    """How one check counts.

    Attributes:
        required: Whether the verdict needs it. A fidelity check counts towards the fidelity verdict only.
        threshold: Where good ends.
        fallback: Where good ends on the coarser row that a small holdout allows (membership); empty: no such row.
    """

    required: bool
    threshold: Limit
    fallback: Limit | None = None


class Extractor(_Strict):
    """In whose features distances between sets are measured.

    Attributes:
        name: Which one. file: The TorchScript file with ``torchscript``, an encoder with ``uld``; null otherwise.
        side, scale: Pixels and grey range that a TorchScript file takes.
        because: Why this one.
    """

    name: Literal["radiomics", "phantom_network", "efficientnet_lite0", "torchscript", "uld"] = "radiomics"
    file: str | None = None
    side: Annotated[int, Field(ge=8, le=1024)] = 299
    scale: Literal["signed", "unit", "byte"] = "signed"
    because: Annotated[str, Field(min_length=10)] = "needs no trained weights, is stable with few images"

    def choice(self) -> ExtractorChoice:
        """As the features know it."""
        file = Path(self.file) if self.file else None
        return ExtractorChoice(name=self.name, file=file, side=self.side, scale=self.scale)


class Profile(_Strict):
    """An audit profile, whole."""

    schema_: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    purpose: Annotated[str, Field(min_length=10)]
    significance: Limit
    extractor: Extractor = Extractor()
    checks: dict[str, CheckSettings]


def parse_profile(text: str, name: str, known: Iterable[str]) -> Profile:
    """Read a profile from YAML text.

    Args:
        text: The file's content. name: How problems call the file. known: Identifiers of all checks there are.

    Raises:
        PolicyError: Every problem found, as ``file:line:column: path: message``.
    """
    known = sorted(known)
    document = read_yaml(text)
    problems = list(document.problems)
    profile: Profile | None = None
    if not problems:
        try:
            profile = Profile.model_validate(document.value)
        except ValidationError as error:
            for item in error.errors():
                path = tuple(part for part in item["loc"])
                place = document.place(path, key=item["type"] == "extra_forbidden")
                message = _PLAIN.get(item["type"], item["msg"])
                problems.append(Problem(place.line, place.column, dotted(path), message))
    if profile is not None:
        for check in profile.checks:
            if check not in known:
                place = document.place(("checks", check), key=True)
                close = get_close_matches(check, known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                problems.append(Problem(place.line, place.column, f"checks.{check}", f"no such check{hint}"))
        for check in known:
            if check not in profile.checks:
                place = document.place(("checks",))
                problems.append(Problem(place.line, place.column, f"checks.{check}", "required setting is missing"))
        if not 0.0 < profile.significance.value <= 0.1:
            place = document.place(("significance", "value"))
            problems.append(Problem(place.line, place.column, "significance.value", "must lie in (0, 0.1]"))
    if problems or profile is None:
        lines = "\n".join(f"{name}:{problem}" for problem in sorted(problems))
        raise PolicyError(f"the audit profile has {len(problems)} problem(s):\n{lines}", fix="Correct the profile.")
    return profile


def load_profile(name: str, known: Iterable[str]) -> Profile:
    """Read a shipped profile by name, or a file by path, whose name then says that it is the house's own.

    Raises:
        UsageError: There is no such profile.
        PolicyError: It cannot be read or breaks a rule.
    """
    path: Path = shipped_file("audits", name)
    profile = parse_profile(path.read_text(encoding="utf-8"), path.name, known)
    if is_shipped("audits", path):
        return profile
    # A house may have thresholds of its own, but not under the name of those that it did not keep.
    return profile.model_copy(update={"name": f"{profile.name} (own file)"})
