"""The collector of the ULD benchmark: parts are measured once, goals that are missed stay, pages hold every part."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from benchmarks.uld import __main__ as command
from benchmarks.uld import reference, throughput


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """Two parts that count how often they are measured; everything is written below ``tmp_path``."""
    asked = []

    def part(name):
        def measure(*, quick, short, note):
            note(f"{name} at work")
            asked.append((name, "short" if short else quick))
            return {"value": 0.5}

        drawn = {"copies": lambda *, quick: Image.new("L", (10, 6), 0), "landmarks": lambda *, quick: None}
        return SimpleNamespace(
            NAME=name,
            measure=measure,
            goals=lambda figures: {f"{name}_goal": {"goal": 0.9, "value": figures["value"], "met": False}},
            page=lambda figures: [f"## {name}", "", f"{figures['value']}"],
            picture=drawn[name],
        )

    monkeypatch.setattr(reference, "PARTS", ("copies", "landmarks"))
    monkeypatch.setattr(reference, "part", part)
    monkeypatch.setattr(reference, "code_digest", lambda name: "same")
    monkeypatch.setattr(reference, "HOME", tmp_path / "reference")
    monkeypatch.setattr(reference, "cache_folder", lambda: tmp_path / "cache")
    return SimpleNamespace(asked=asked, home=tmp_path / "reference")


def test_what_was_measured_by_the_same_code_is_not_measured_again(parts, capsys):
    command.main([])
    command.main([])
    assert parts.asked == [("copies", False), ("landmarks", False)]
    command.main(["--only", "copies", "--fresh"])
    command.main(["--quick"])
    assert parts.asked[2:] == [("copies", False), ("copies", True), ("landmarks", True)]
    command.main(["--short", "--only", "copies"])
    command.main(["--short", "--write"])
    assert parts.asked[5:] == [("copies", "short"), ("landmarks", "short")]
    assert "A short run" in (parts.home / "uld.md").read_text()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["goals"]["copies_goal"]["met"] is False


def test_the_record_is_written_whole_with_page_and_picture(parts):
    command.main(["--write"])
    record = json.loads((parts.home / "uld.json").read_text())
    assert record["command"] == "python -m benchmarks.uld --write"
    assert set(record) == {"command", "versions", "hardware", "date", "short", "figures", "goals"}
    page = (parts.home / "uld.md").read_text()
    assert "## copies" in page
    assert "| copies_goal | at least 0.9 | 0.5 | **no** |" in page
    with Image.open(parts.home / "uld.png") as sheet:
        assert sheet.size == (10, 6)


def test_figures_follow_from_the_code_of_features_and_of_their_part():
    assert reference.code_digest("throughput") == reference.code_digest("throughput")
    assert len(reference.code_digest("throughput")) == 12


def test_a_quick_run_is_not_recorded_and_a_part_of_one_says_what_is_missing(parts):
    with pytest.raises(SystemExit):
        command.main(["--write", "--quick"])
    assert not parts.home.exists()
    command.main(["--write", "--only", "copies"])
    assert "**Not measured in this run**: landmarks." in (parts.home / "uld.md").read_text()


def test_the_search_finds_every_patch_and_counts_what_it_compared():
    found = throughput.search(8, 64)
    assert found["gallery_patches"] == 8 * 64
    assert found["comparisons_a_second"] == pytest.approx(found["patches_a_second"] * 512)


def test_memory_is_told_of_a_process_of_its_own():
    found = throughput.memory_of_a_fit(40, steps=1)
    assert 50 < found["own_memory_mib"] < 5000
