"""The archive benchmark writes the same content twice, counts what it says, and claims no goal that it did not reach."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.archive_write import __main__ as command
from benchmarks.archive_write import reference
from benchmarks.archive_write.contenders import ours, plain, without_tricks
from benchmarks.archive_write.measuring import Duel, Rate, identity, peak_mb
from benchmarks.archive_write.workload import forms, held, settings_of
from synthrelease.dicom import segmentation
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind


def found(rate: float = 2000.0, slow: float = 50.0, same: int = 10, growth: float = 1.0) -> reference.Found:
    duel = Duel(128, 500, 0.1, Rate(rate, rate, 3), Rate(slow, slow, 3))
    return reference.Found([duel], {1: duel.ours}, {"DX": (same, 10)}, {100: 50.0, 400: 50.0 * growth})


def test_both_contenders_write_the_same_pairs(tmp_path: Path) -> None:
    samples = held(settings_of(3, 16))
    ours(tmp_path / "ours", samples)
    plain(tmp_path / "plain", samples, 3)
    written = sorted(path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("?0000001"))
    files = [path for path in written if (tmp_path / "plain" / path).is_file()]
    assert len(files) == 6
    assert all((tmp_path / "ours" / path).read_bytes() == (tmp_path / "plain" / path).read_bytes() for path in files)


def test_plain_highdicom_is_not_helped_by_what_the_slow_path_remembers() -> None:
    before = segmentation.standard_tables_remembered
    with without_tricks():
        assert segmentation.standard_tables_remembered is not before
    assert segmentation.standard_tables_remembered is before


def test_every_class_depth_and_form_is_compared() -> None:
    compared = list(forms(32).values())
    assert {(each.image_class, each.bits) for each in compared} >= {(c, bits) for c in ImageClass for bits in (12, 16)}
    assert {each.mask_kind for each in compared} == set(MaskKind)
    assert {each.mask_compression for each in compared} == set(Compression)
    assert {each.one_file_per_segment for each in compared} == {True, False}
    assert any(each.reports for each in compared)


def test_a_file_that_differs_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.archive_write import measuring

    def other(*given: object) -> list[tuple[str, bytes]]:
        return [(path, content[:-1] + b"x") for path, content in real(*given)]  # type: ignore[arg-type]

    real = measuring.slow_files
    monkeypatch.setattr(measuring, "slow_files", other)
    monkeypatch.setattr(measuring, "forms", lambda side: {"DX": settings_of(1, side)})
    assert identity(tmp_path, 16, 1) == {"DX": (0, 2)}


def test_memory_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    assert 30 < peak_mb(tmp_path, 16, 70) < 2000


@pytest.mark.parametrize(
    ("reached", "missed"),
    [
        (found(), set()),
        (found(rate=900), {"pairs_per_second_core", "speedup_vs_highdicom"}),
        (found(slow=150), {"speedup_vs_highdicom"}),
        (found(same=9), {"byte_identical"}),
        (found(growth=1.5), {"memory_growth"}),
    ],
)
def test_a_goal_that_was_not_reached_is_not_met(reached: reference.Found, missed: set[str]) -> None:
    assert {name for name, goal in reference.goals(reached).items() if not goal["met"]} == missed


def test_the_record_and_the_page_are_written(tmp_path: Path) -> None:
    told = reference.result(found(), command="python -m benchmarks.archive_write")
    reference.write(found(), told, tmp_path)
    assert json.loads((tmp_path / "archive_write.json").read_text()) == told
    assert "| pairs_per_second_core | at least 1000 | 2000 | yes |" in (tmp_path / "archive_write.md").read_text()


def test_the_last_line_is_json_with_the_three_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "QUICK", command.Effort({128: 4}, 1, 1, 1, 65, 4))
    monkeypatch.setattr(command, "several", lambda *given: found().duels[0].ours)
    monkeypatch.setattr(command, "peak_mb", lambda *given: 50.0)
    monkeypatch.setattr(command, "identity", lambda *given: {"DX": (2, 2)})
    command.main(["--quick", "--folder", str(tmp_path)])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"pairs_per_second_core", "speedup_vs_highdicom", "byte_identical", "goals"} <= set(last)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit):
        command.main(["--quick", "--write"])


def test_samples_of_a_whole_shard_are_given_without_a_copy() -> None:
    samples = held(replace(settings_of(130, 8)))
    assert samples.draw(0) is samples.draw(1) is samples.batch
    assert len(samples.draw(2).labels) == 2
