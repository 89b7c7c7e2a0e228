"""Archives in which nothing leaks: who accuses is counted, who says nothing is told, and what is missing is missed."""

from __future__ import annotations

import pytest

from benchmarks.audit_power import again
from benchmarks.uld import innocent
from synthrelease.errors import UnsuitableData

HEARD: list[str] = []


def measured(monkeypatch: pytest.MonkeyPatch, told: dict[str, list[float | None]]) -> dict[str, object]:
    """Figures where the check says what is told, and a source that is not told is not on this machine."""

    def p_of(name: str, number: int) -> float | None:
        if name not in told:
            raise UnsuitableData("not on this machine")
        return told[name][number]

    monkeypatch.setattr(innocent, "p_of", p_of)
    monkeypatch.setattr(innocent, "SHORT", 4)
    return innocent.measure(quick=False, short=True, note=HEARD.append)


def test_an_archive_is_accused_at_the_level_and_not_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, {"phantom": [0.05, 0.051, None, 1.0], "pediatric": [1.0, 1.0, 1.0, 1.0]})
    goals = innocent.goals(found)
    assert goals["innocent_archives_accused_phantom"]["value"] == pytest.approx(0.25)
    assert not goals["innocent_archives_accused_phantom"]["met"]
    assert goals["innocent_archives_accused_pediatric"]["met"]
    page = innocent.page(found)
    assert page[-2].startswith("| phantom | 4 | 1 | 0.250 (0.046 to 0.699) | 1 |")
    assert page[-1].startswith("| pediatric | 4 | 0 | 0.000 ")


def test_a_source_that_is_not_there_is_missed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, {"phantom": [1.0] * 4})
    assert not innocent.goals(found)["innocent_archives_accused_pediatric"]["met"]
    assert "not on this machine" in innocent.page(found)[-1]


def test_the_check_says_nothing_of_strangers_and_names_a_planted_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    innocent_p = innocent.p_of("phantom", 0)
    assert innocent_p is not None
    assert innocent_p > innocent.LEVEL
    world_of = again.source

    class Leaking:
        """The same world, whose first synthetic images are those of training."""

        def world(self, *asked: object) -> object:
            case = world_of("phantom").world(*asked)  # type: ignore[arg-type]
            case.synthetic.images[:8, :, 16:48, 16:48] = case.train.images[:8, :, 16:48, 16:48]
            return case

    monkeypatch.setattr(again, "source", lambda name: Leaking())
    planted_p = innocent.p_of("phantom", 0)
    assert planted_p is not None
    assert planted_p <= innocent.LEVEL
