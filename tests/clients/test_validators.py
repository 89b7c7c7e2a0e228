"""dciodvfy and dcentvfy have nothing to say about any file of an archive of any form, nor about all of it together."""

from __future__ import annotations

from archive_forms import IMAGES, SEGMENTS, Archive

from synthrelease.archive.conformance import archive_problems, instance_problems


def test_the_archive_holds_every_file_its_table_names_and_no_other(archive: Archive) -> None:
    named = {file for entry in archive.entries for file in (entry.image, *entry.masks, entry.report) if file}
    assert set(archive.files) == named
    masks = IMAGES * (len(SEGMENTS) if archive.form.one_file_per_segment else 1)
    assert len(archive.masks) == masks
    assert len(named) == IMAGES + masks + IMAGES * archive.form.reports


def test_no_file_of_an_archive_has_an_error_or_a_warning(archive: Archive) -> None:
    problems = {path.name: found for path in archive.files if (found := instance_problems(path))}
    assert problems == {}


def test_the_files_of_an_archive_agree_with_each_other(archive: Archive) -> None:
    assert archive_problems(archive.files) == []
