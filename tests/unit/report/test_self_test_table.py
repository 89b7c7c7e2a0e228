"""The table of a self-test: amounts side by side, who answers for a leak, who caught it, innocent archives apart."""

from __future__ import annotations

from typing import Any

from synthrelease.report.self_test_table import self_test_text


def row(transform: str, planted: int, share: str, *by: str, control: bool = False) -> dict[str, Any]:
    return {
        "transform": transform,
        "control": control,
        "planted": planted,
        "share": share,
        "caught": None if control else bool(by),
        "verdict": "fail" if by else "pass",
        "by": list(by),
        "covered": [] if control else ["near_copies"],
        "seconds": 1.0,
    }


def test_a_leak_is_a_line_with_every_amount_and_innocent_archives_stand_apart() -> None:
    record = {
        "verdict": "inconclusive",
        "reason": "innocent archives accused: blur",
        "rows": [
            row("hflip", 1, "1 image, 0.1 %", "near_copies"),
            row("hflip", 10, "1 %", "near_copies"),
            row("hflip", 100, "10 %", "near_copies", "neighbour_permutation"),
            row("elastic", 1, "1 image, 0.1 %"),
            row("elastic", 10, "1 %", "near_copies"),
            row("blur", 0, "all images", "near_copies", control=True),
        ],
    }
    text = self_test_text(record, width=140)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["hflip"].count("caught (1)") == 2
    assert "caught (100)" in lines["hflip"]
    assert "near_copies, neighbour_permutation" in lines["hflip"]
    assert "missed (1)" in lines["elastic"]
    assert "–" in lines["elastic"], "10 % was not tried"
    assert "fail" in lines["blur"]
    assert text.rstrip().endswith("? inconclusive: innocent archives accused: blur")


def test_nothing_planted_says_why() -> None:
    text = self_test_text({"verdict": "inconclusive", "reason": "nothing can be planted: no holdout", "rows": []})
    assert "nothing can be planted: no holdout" in text
