"""The datasheet answers every heading, from what leaves anyway, and says what nobody recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from synthrelease.release import seal
from synthrelease.release.pages import FORBIDDEN

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def flat(pack: Path) -> str:
    return " ".join((pack / "DATASHEET.md").read_text(encoding="utf-8").split())


def test_every_heading_of_a_datasheet_is_there(pack: Path) -> None:
    headings = re.findall(r"^## (.*)$", (pack / "DATASHEET.md").read_text(encoding="utf-8"), re.MULTILINE)
    for word in ("Motivation", "Composition", "synthesis", "Preprocessing", "Uses", "Distribution", "Maintenance"):
        assert any(word in heading for heading in headings), word


def test_it_tells_claim_limits_and_what_is_forbidden(pack: Path) -> None:
    text = flat(pack)
    assert "differentially private for the addition or removal" in text
    assert "does not cover" in text
    assert "| Can somebody tell that a patient was in the cohort? | pass | required | 0.02 share |" in text
    assert "Not asked at all: singling out, linkability, inference, fidelity, conformance" in text
    assert all(rule in text for rule in FORBIDDEN)
    assert "Not recorded here: funding" in text
    assert "nodule 1, normal 2" in text
    assert "9 files, " in text


def test_without_privacy_it_says_that_nothing_bounds_the_leak(signed_plain: Path, tmp_path: Path) -> None:
    seal(signed_plain, tmp_path / "pack", NOW, key=None)
    assert "**No formal guarantee.**" in flat(tmp_path / "pack")


def test_maps_of_real_images_are_warned_of_and_nothing_is_said_that_they_make_untrue(
    signed_real_maps: Path, signed_plain: Path, tmp_path: Path
) -> None:
    untrue = (
        "No image, mask, label or header value is that of a person",
        "no real image, mask, label or header is at hand",
    )
    for run, real in ((signed_real_maps, True), (signed_plain, False)):
        seal(run, tmp_path / run.name, NOW, key=None)
        text = flat(tmp_path / run.name)
        release = (tmp_path / run.name / "RELEASE.md").read_text(encoding="utf-8")
        for page in (text, release):
            assert ("leads back to that patient" in page) is real
        assert [sentence in text for sentence in untrue] == [not real, not real]


def test_it_names_neither_the_operator_nor_the_cohorts_folder_and_clears_nobody(pack: Path) -> None:
    text = flat(pack)
    assert not [secret for secret in ("Olga Operator", "/data/wards", "ZX-4711", "gpu-node", "1234") if secret in text]
    assert not re.search(r"\bsafe\b|anonym", text, re.IGNORECASE)


def test_markup_in_the_policy_stays_text(
    run: Path, tmp_path: Path, audit_of: Callable[..., None], sign_of: Callable[[Path], Path]
) -> None:
    audit_of(run, findings=[{**_finding(), "question": "a | b <script>"}])
    seal(sign_of(run), tmp_path / "pack", NOW, key=None)
    assert r"a \| b &lt;script&gt;" in flat(tmp_path / "pack")


def _finding() -> dict[str, object]:
    return {"id": "x", "question": "", "criterion": "membership", "verdict": "pass", "required": True}
