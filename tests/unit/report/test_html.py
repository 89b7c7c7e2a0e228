"""Both editions of the report: what they say, and what the external one must never hold."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.report import Edition, ReportInputs, render

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Reader(HTMLParser):
    """Collects what a browser would act on, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def words(page: str) -> str:
    return re.sub(r"[ \n]+", " ", " ".join(read(page).text))


def images_in(page: str) -> list[npt.NDArray[np.float64]]:
    """Every picture of a page, decoded, as grey levels in [-1, 1]."""
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), np.float64) / 127.5 - 1
        for data in found
    ]


def shows_any_of(page: str, cohort: npt.NDArray[np.float64]) -> int:
    """How many pictures of a page are an image of the cohort, at any size, in spite of a stamp."""
    size = cohort.shape[-1]
    count = 0
    for shown in images_in(page):
        factor = max(1, shown.shape[0] // size)
        small = shown[::factor, ::factor][:size, :size]
        upper = slice(0, int(size * 0.8))
        count += any(float(np.mean(np.abs(small[upper] - real[upper]))) < 0.01 for real in cohort)
    return count


@pytest.fixture(scope="module")
def external(inputs: Any) -> str:
    return render(Edition.EXTERNAL, inputs.external)


@pytest.fixture(scope="module")
def internal(inputs: Any) -> str:
    return render(Edition.INTERNAL, inputs.internal)


def test_the_external_edition_holds_no_pixel_of_the_cohort(inputs: Any, external: str, internal: str) -> None:
    assert shows_any_of(internal, inputs.cohort) > 0, "the search must be able to find a real image"
    assert shows_any_of(external, inputs.cohort) == 0
    assert len(images_in(external)) == len(inputs.external.sheet.images)


def test_the_external_edition_refuses_to_receive_look_alikes(inputs: Any) -> None:
    with pytest.raises(UsageError, match="real patients"):
        render(Edition.EXTERNAL, inputs.internal)


def test_the_external_edition_holds_no_private_text_and_no_exact_count(external: str) -> None:
    for text in (
        "/data/wards",
        "ZX-4711-KOWALSKI",
        "Olga Operator",
        "2891",
        "1239",
        "2\u202f891",
        "0.0123456",
        "0.01235",
    ):
        assert text not in external


def test_figures_are_rounded_outside_and_not_inside(external: str, internal: str) -> None:
    assert "0.0071 to 0.021" in words(external)
    assert "0.01235" in words(internal)
    assert "about 2\u202f900" in words(external)
    assert "2\u202f891" in words(internal)


def test_a_private_text_in_a_record_stops_the_external_edition(inputs: Any) -> None:
    audit = copy.deepcopy(inputs.external.audit)
    audit["findings"][0]["question"] = "nearest to ZX-4711-KOWALSKI"
    with pytest.raises(IntegrityError) as caught:
        render(Edition.EXTERNAL, replace(inputs.external, audit=audit))
    assert "KOWALSKI" not in str(caught.value)
    assert "KOWALSKI" in render(Edition.INTERNAL, replace(inputs.internal, audit=audit))


@pytest.mark.parametrize("edition", list(Edition))
def test_maps_of_real_images_are_warned_of_in_either_edition(inputs: Any, edition: Edition) -> None:
    warning = "images are painted after maps of patients, and each leads back to its patient"
    for guidance, told in (({"maps": "real", "warning": warning}, True), ({"maps": "generated"}, False), (None, False)):
        training = {**inputs.external.training, "guidance": guidance}
        assert (warning in words(render(edition, replace(inputs.external, training=training)))) is told


def test_the_internal_edition_shows_pairs_with_controls_under_a_watermark(internal: str) -> None:
    text = words(internal)
    assert text.count("Nearest holdout") == 6
    assert text.count("Real, held out") == 2
    assert "INTERNAL: shows real patients" in text
    assert 'class="watermark"' in internal


def test_the_external_edition_has_no_script_and_no_watermark(external: str) -> None:
    assert "<script" not in external
    assert "watermark" not in {attrs.get("class") for _, attrs in read(external).tags}


@pytest.mark.parametrize("edition", ["external", "internal"])
def test_a_page_loads_nothing_from_anywhere(edition: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(edition)
    for tag, attrs in read(page).tags:
        for name in ("src", "href", "srcset", "data", "action"):
            target = attrs.get(name)
            assert target is None or target.startswith(("data:image/png", "#")), f"{tag} {name}"
        assert tag not in ("link", "iframe", "object", "embed", "base")
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_only_script_is_the_one_that_the_page_allows(internal: str) -> None:
    script = re.search(r"<script>(.*?)</script>", internal, re.S)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    allowed = next(
        attrs["content"] for tag, attrs in read(internal).tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert allowed is not None
    assert f"script-src 'sha256-{digest}'" in allowed


@pytest.mark.parametrize("edition", ["external", "internal"])
def test_a_page_is_well_formed_and_usable_without_sight(edition: str, request: pytest.FixtureRequest) -> None:
    reader = read(request.getfixturevalue(edition))
    assert reader.open == []
    tags = reader.tags
    assert ("html", {"lang": "en", "data-edition": edition}) in tags
    assert all("alt" in attrs for tag, attrs in tags if tag == "img")
    charts = [attrs for tag, attrs in tags if tag == "svg" and attrs.get("aria-hidden") != "true"]
    assert charts
    assert all(attrs.get("aria-label") and attrs.get("role") == "img" for attrs in charts)
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tags if tag == "th")
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    anchors = {str(attrs["href"])[1:] for tag, attrs in tags if tag == "a"}
    assert anchors <= set(ids)


@pytest.mark.parametrize(
    ("verdict", "words_of_it"),
    [("pass", "No objection found"), ("fail", "Do not release"), ("inconclusive", "Needs review")],
)
def test_the_recommendation_is_in_words(inputs: Any, verdict: str, words_of_it: str) -> None:
    page = render(Edition.EXTERNAL, replace(inputs.external, audit={**inputs.external.audit, "verdict": verdict}))
    assert words_of_it in words(page)


@pytest.mark.parametrize("edition", ["external", "internal"])
def test_no_page_calls_an_archive_safe_or_anonymous(edition: str, request: pytest.FixtureRequest) -> None:
    assert not re.search(
        r"\b(safe|safely|anonymous|anonymised|anonymized)\b", words(request.getfixturevalue(edition)), re.I
    )


def test_a_question_that_no_check_answers_is_listed_as_not_assessed(external: str) -> None:
    text = words(external)
    assert "Linked?" in text
    assert text.count("Not assessed") == 2, "once in the decision box, once among the questions"
    assert "It was not looked at" in text


def test_every_verdict_is_a_word(external: str) -> None:
    text = words(external)
    assert "Inconclusive" in text
    assert re.search(r"Is a real image in the archive.*? Pass", text)


def test_thresholds_come_with_their_reason_and_rows_with_baseline_and_power(external: str, internal: str) -> None:
    assert "five times chance; set by the review board" in words(external)
    assert "sees from 0.011 of patients" in words(external)
    assert "sees from 0.0105 of patients" in words(internal)
    assert "holdout 0.009876" in words(internal)
    assert "mirrored 97\u202f%" in words(internal)


def test_the_external_edition_tells_verdicts_and_bounds_and_no_measured_value(inputs: Any, external: str) -> None:
    text = words(external)
    for secret in ("0.4123", "p 0.", "mirrored 97", "0.00988", "The upper end of the interval stays", "2,400"):
        assert secret not in text
    assert "lie outside of the guarantee" in text
    audit = copy.deepcopy(inputs.external.audit)
    audit["findings"][0]["details"] = {"rows": [4711]}
    audit["findings"][0]["reason"] = "81 of 2891 patients"
    assert render(Edition.EXTERNAL, replace(inputs.external, audit=audit)) == external


def test_checks_that_are_not_required_are_folded_and_counted(external: str) -> None:
    assert "<summary>1 further check, not required: 1 inconclusive</summary>" in external
    assert external.index("Inferred?") < external.index("<summary>1 further check")


def test_an_audit_tells_its_power_its_history_and_remarks(inputs: Any) -> None:
    power = {
        "alpha": 0.05,
        "power": 0.8,
        "copy_rate": [{"check": "near_copies", "detectable": 0.0103, "threshold": 0.01, "images_needed": 314}],
        "membership": [
            {"false_positive_rate": 0.1, "resolvable": True, "others_needed": 29, "against": 0.2, "detectable": 0.31},
            {
                "false_positive_rate": 0.01,
                "resolvable": False,
                "others_needed": 299,
                "against": 0.05,
                "detectable": None,
            },
        ],
        "largest_epsilon": {"provable": 3.277, "claimed": 8.0, "can_refute_claim": False},
        "add": ["229 more held-out patients: membership at 1 % false positives"],
    }
    prior = {"count": 3, "same_archive": 2, "same_question": 1, "verdicts": {"fail": 2, "pass": 1}, "chain": "e" * 64}
    audit = {**inputs.external.audit, "power": power, "prior_audits": prior, "remarks": ["Grey values differ."]}
    inside = words(render(Edition.INTERNAL, replace(inputs.internal, audit=audit)))
    outside = words(render(Edition.EXTERNAL, replace(inputs.external, audit=audit)))
    for text in (inside, outside):
        assert "not resolvable needs 299 held-out patients" in text
        assert "cannot refute the claim of 8" in text
        assert "3 earlier audits of these patients recorded here (2 fail, 1 pass); 2 of this archive, 1 of them" in text
        assert "Grey values differ." in text
    assert "229 more held-out patients" in inside
    assert "229" not in outside, "it would tell the exact number of held-out patients"
    assert "1.03" in inside
    assert "1.03" not in outside


def test_epsilon_is_translated_into_what_an_attack_may_reach(external: str) -> None:
    text = words(external)
    for part in (
        "Epsilon (ε) 7.98",
        "Delta (δ) 1e-5",
        "35.5\u202f%",
        "66.5\u202f%",
        "Mu (μ) 2",
        "Epsilon of all runs together 8.41",
    ):
        assert part in text
    assert "What is not protected" in text


def test_without_a_risk_curve_the_bound_follows_from_epsilon(inputs: Any) -> None:
    training = {
        "privacy": {
            "mode": "private",
            "unit": "patient",
            "epsilon": 8.0,
            "delta": 1e-5,
            "accountant": "PLD",
            "mechanisms": [],
        }
    }
    text = words(render(Edition.EXTERNAL, replace(inputs.external, training=training)))
    assert "from epsilon and delta alone" in text
    assert "excludes no attack of practical interest" in text


@pytest.mark.parametrize(
    "training", [{}, {"privacy": {"mode": "none"}}, {"privacy": {"mode": "none", "epsilon": None}}]
)
def test_without_privacy_the_page_says_that_there_is_no_guarantee(inputs: Any, training: dict[str, Any]) -> None:
    text = words(render(Edition.EXTERNAL, replace(inputs.external, training=training)))
    assert "No formal guarantee." in text
    assert "There is no formal privacy guarantee behind this archive" in text
    assert "Epsilon (ε) 7.98" not in text


def test_no_place_that_a_policy_takes_things_from_is_in_the_external_edition(inputs: Any) -> None:
    place = "/data/StMary/dr_jones/atlas.npy"
    for generator in ({"name": "um", "public_images": place}, {"name": "pggan", "guide": place}):
        cohort = {**inputs.external.policy["cohort"], "source": place, "label": {"csv": place}}
        policy = {**inputs.external.policy, "generator": generator, "cohort": cohort, "audit": {"profile": place}}
        page = render(Edition.EXTERNAL, replace(inputs.external, policy=policy))
        assert generator["name"] in page
        assert "StMary" not in page


def test_hostile_names_stay_text(inputs: Any) -> None:
    attack = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'"
    audit = copy.deepcopy(inputs.external.audit)
    for entry in audit["findings"]:
        entry["question"] = entry["reason"] = entry["id"] = attack
        entry["statistic"]["name"] = attack
        entry["threshold"]["because"] = attack
        entry["power"]["planted"] = {attack: 1.0}
    policy = {**inputs.external.policy, "purpose": attack, "sharing": {"recipients": [attack], "tier": attack}}
    archive = {**inputs.external.archive, "release_name": attack, "class_counts": {attack: 3}, "segments": [attack]}
    sheet = replace(inputs.external.sheet, labels=[attack] * 12, segments=[attack] * 4)
    approvals = [{"event": "approved", "by": attack, "role": attack, "statement": attack, "time": attack}]
    changed = replace(inputs.external, audit=audit, policy=policy, archive=archive, sheet=sheet, approvals=approvals)
    page = render(Edition.EXTERNAL, changed)
    tags = read(page).tags
    assert not [tag for tag, _ in tags if tag == "script"]
    assert not [attrs for _, attrs in tags if "onerror" in attrs]
    assert "&lt;script&gt;alert(1)" in page
    pairs = [replace(pair, name=attack) for pair in inputs.internal.pairs]
    inside = read(render(Edition.INTERNAL, replace(inputs.internal, audit=audit, pairs=pairs))).tags
    assert len([tag for tag, _ in inside if tag == "script"]) == 1
    assert not [attrs for _, attrs in inside if "onerror" in attrs]


def test_the_head_names_edition_and_audit_for_the_sealing(external: str, internal: str) -> None:
    for page, edition in ((external, "external"), (internal, "internal")):
        assert f'<meta name="synthrelease-edition" content="{edition}">' in page[:4096]
        assert f'<meta name="synthrelease-audit" content="{"d" * 64}">' in page[:4096]


def test_approvals_of_another_audit_do_not_count(inputs: Any) -> None:
    approvals = [
        {
            "event": "approved",
            "by": name,
            "role": "privacy officer",
            "statement": "fine",
            "digests": {"audit": digest * 64},
        }
        for name, digest in (("Ada", "d"), (" ADA ", "d"), ("Ben", "e"))
    ]
    assert "this report shows 1." in words(render(Edition.EXTERNAL, replace(inputs.external, approvals=approvals)))


def test_a_page_without_pictures_records_or_numbers_still_renders(inputs: Any) -> None:
    audit = copy.deepcopy(inputs.external.audit)
    for entry in audit["findings"]:
        entry["statistic"].update(value=None, low=None, high=None)
        entry.update(verdict="inconclusive", threshold=None)
    bare = ReportInputs(audit={**audit, "verdict": "inconclusive"}, training={}, archive={}, policy={}, digests={})
    text = words(render(Edition.EXTERNAL, bare))
    assert "Needs review" in text
    assert "made by another tool" in text
    assert "None" not in text


def test_the_picture_of_styles_is_shown_where_there_is_one(inputs: Any, external: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 12), dtype=np.uint8)).save(buffer, format="PNG")
    page = render(Edition.INTERNAL, replace(inputs.internal, styles=buffer.getvalue()))
    assert "Content and style" in words(page)
    assert base64.b64encode(buffer.getvalue()).decode() in page
    assert "Content and style" not in words(external)
    with pytest.raises(UsageError, match="no check has seen"):
        render(Edition.EXTERNAL, replace(inputs.external, styles=buffer.getvalue()))


def test_the_same_inputs_give_the_same_page(inputs: Any, external: str) -> None:
    assert render(Edition.EXTERNAL, inputs.external) == external
