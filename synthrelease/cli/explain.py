"""``synthrelease explain``: what a check of the audit asks, how, what good is, and what it does not see."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.audit.measurement import Check
    from synthrelease.audit.profile import CheckSettings, Profile

WIDTH = 100


@click.command("explain", short_help="What a check asks, how, and what it misses.")
@click.argument("check_id", metavar="[CHECK]", required=False)
@click.option("--profile", default="standard", show_default=True, metavar="FILE", help="Whose thresholds are told.")
@options.speech
def command(check_id: str | None, profile: str, as_json: bool, quiet: bool) -> int:
    """Explain CHECK in plain words: what it asks, how it answers, what a good answer is, what it is known to miss, where
    the method comes from, and the threshold with its reason. Without CHECK: all checks with their questions.

    Reads no data. Exit code 2 for a check that does not exist.
    """
    from synthrelease.audit.checks import CHECKS
    from synthrelease.audit.profile import load_profile

    console = Console(as_json=as_json, quiet=quiet)
    known = {check.id: check for check in CHECKS}
    loaded = load_profile(profile, known)
    if check_id is None:
        console.answer(_list(CHECKS, loaded), {"checks": [_value(check, loaded) for check in CHECKS]})
        return 0
    check = known.get(check_id) or known.get(check_id.replace("-", "_").lower())
    if check is None:
        raise _unknown(check_id, list(known))
    console.answer(_text(check, loaded), _value(check, loaded))
    return 0


def _unknown(check_id: str, known: list[str]) -> Exception:
    from difflib import get_close_matches

    from synthrelease.errors import UsageError

    near = get_close_matches(check_id, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return UsageError(f"there is no check '{check_id}'.{hint}", fix=f"Checks: {', '.join(known)}.")


def _value(check: Check, profile: Profile) -> dict[str, Any]:
    settings, told = profile.checks[check.id], check.explanation
    return {
        "id": check.id,
        "criterion": str(check.criterion),
        "question": check.question,
        "how": told.how,
        "good": told.good,
        "weakness": told.weakness,
        "source": told.source,
        "needs_holdout_as_control": check.needs_sound_split,
        "profile": profile.name,
        **settings.model_dump(mode="json"),
    }


def _text(check: Check, profile: Profile) -> str:
    settings, told = profile.checks[check.id], check.explanation
    parts = [
        ("Asks", check.question),
        ("How", told.how),
        ("Good", told.good),
        ("Does not see", told.weakness),
        ("Threshold", _threshold(settings, profile.name)),
        ("Needs", "held-out patients as its control" if check.needs_sound_split else ""),
        ("Source", told.source),
    ]
    lines = [f"{check.id}   {_criterion(check)}, {_counts(settings)} in the profile {profile.name}", ""]
    lines += [_paragraph(name, text) for name, text in parts if text]
    return "\n".join(lines)


def _threshold(settings: CheckSettings, profile: str) -> str:
    told = f"{settings.threshold.value:g}, because: {settings.threshold.because}"
    if settings.fallback is not None:
        told += f" With a small holdout {settings.fallback.value:g}, because: {settings.fallback.because}"
    return told


def _list(checks: tuple[Check, ...], profile: Profile) -> str:
    lines = [
        f"{len(checks)} checks; * is required by the profile {profile.name}. `synthrelease explain CHECK` tells more."
    ]
    for criterion in dict.fromkeys(check.criterion for check in checks):
        chosen = [check for check in checks if check.criterion is criterion]
        lines += ["", _criterion(chosen[0]).capitalize()]
        for check in chosen:
            star = "*" if profile.checks[check.id].required else " "
            lines.append(_paragraph(f"{star} {check.id}", check.question, indent=26))
    return "\n".join(lines)


def _counts(settings: CheckSettings) -> str:
    return "required" if settings.required else "not required"


def _criterion(check: Check) -> str:
    return str(check.criterion).replace("_", " ")


def _paragraph(name: str, text: str, indent: int = 14) -> str:
    head = name.ljust(indent) if len(name) < indent else name + " "
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False)
