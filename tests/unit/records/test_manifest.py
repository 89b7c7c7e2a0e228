"""Manifests: one byte string for one folder, read as `sha256sum` does, and nothing hides from them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthrelease.errors import IntegrityError
from synthrelease.records.manifest import (
    MANIFEST,
    ManifestWriter,
    Problem,
    folder_manifest,
    line_of,
    lines_of,
    manifest_bytes,
    problems,
)

ONE = "1" * 64
NAMES = ("a.txt", "a/b", "a/c.d/e", "a0", "B", "é", "z z")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose names sort otherwise by component than by path, with its manifest."""
    made = tmp_path / "folder"
    for name in NAMES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"content of {name}")
    (made / MANIFEST).write_bytes(manifest_bytes(folder_manifest(made)))
    return made


def test_the_walk_is_in_byte_order_of_whole_paths(folder: Path) -> None:
    paths = [path for path, _ in folder_manifest(folder, leave_out=frozenset({MANIFEST}))]
    assert paths == sorted(NAMES, key=str.encode)


@given(st.lists(st.text("ab./", min_size=1, max_size=5), unique=True, max_size=8))
def test_the_writer_the_bytes_and_the_order_agree(names: list[str]) -> None:
    proper = [n for n in names if not any(part in ("", ".", "..") for part in n.split("/"))]
    whole = manifest_bytes((name, ONE) for name in proper)
    stream = io.BytesIO()
    writer = ManifestWriter(stream)
    for name in sorted(proper, key=str.encode):
        writer.add(name, ONE)
    assert stream.getvalue() == whole
    assert writer.files == len(proper)
    assert writer.digest == hashlib.sha256(whole).hexdigest()


def test_sha256sum_reads_it(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", MANIFEST], cwd=folder, check=False)
    assert done.returncode == 0


def test_a_whole_folder_has_no_problem(folder: Path) -> None:
    assert list(problems(folder)) == []
    assert list(problems(folder, threads=3)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_every_kind_of_problem_is_named(folder: Path, threads: int) -> None:
    (folder / "a.txt").write_text("another content")
    (folder / "B").unlink()
    (folder / "a" / "new").write_text("")
    (folder / "nobody").mkdir()
    (folder / "z z").unlink()
    (folder / "z z").symlink_to("a0")
    (folder / "away").symlink_to("/")
    found = set(problems(folder, threads=threads))
    assert found == {
        Problem("changed", "a.txt"),
        Problem("missing", "B"),
        Problem("extra", "a/new"),
        Problem("extra", "nobody/"),
        Problem("link", "z z"),
        Problem("link", "away"),
    }


def test_a_folder_that_became_a_link_is_a_problem_though_every_file_reads_well(folder: Path) -> None:
    (folder / "a").rename(folder.parent / "elsewhere")
    (folder / "a").symlink_to(folder.parent / "elsewhere")
    assert list(problems(folder)) == [Problem("link", "a")]


def test_an_extra_file_in_the_place_of_a_missing_one_is_noticed(folder: Path) -> None:
    (folder / "B").rename(folder / "C")
    assert set(problems(folder)) == {Problem("missing", "B"), Problem("extra", "C")}


def test_a_special_file_is_a_problem(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "a0").unlink()
    os.mkfifo(folder / "a0")
    assert set(problems(folder)) == {Problem("link", "pipe"), Problem("link", "a0")}


def test_a_name_that_is_no_text_is_a_problem(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\xfe")).write_text("")
    assert [problem.kind for problem in problems(folder)] == ["extra"]


def test_a_manifest_of_another_folder_with_a_prefix(folder: Path, tmp_path: Path) -> None:
    lines = manifest_bytes((f"data/{path}", digest) for path, digest in lines_of(folder / MANIFEST))
    (folder / MANIFEST).unlink()
    (tmp_path / "bag.txt").write_bytes(lines)
    assert list(problems(folder, tmp_path / "bag.txt", prefix="data/")) == []
    with pytest.raises(IntegrityError, match="prefix"):
        list(problems(folder, tmp_path / "bag.txt", prefix="other/"))


@pytest.mark.parametrize(
    "content",
    [
        b"no manifest\n",
        line_of("a", ONE)[:-1],
        line_of("a", "1" * 63),
        line_of("a", "G" * 64),
        f"{ONE} a\n".encode(),
        f"{ONE} *a\n".encode(),
        line_of("/etc/passwd", ONE),
        line_of("../a", ONE),
        line_of("a/../../b", ONE),
        line_of("a//b", ONE),
        line_of("./a", ONE),
        line_of("a\\b", ONE),
        line_of("a\rb", ONE),
        line_of("b", ONE) + line_of("a", ONE),
        line_of("a", ONE) + line_of("a", ONE),
        f"{ONE}  ".encode() + b"\xff\n",
        line_of("x" * 5000, ONE),
        b"\n",
    ],
)
def test_a_malformed_unsorted_or_escaping_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(IntegrityError, match="not one that synthrelease writes"):
        list(lines_of(tmp_path / MANIFEST))


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        list(lines_of(tmp_path / MANIFEST))


@pytest.mark.parametrize("entries", [[("b", ONE), ("a", ONE)], [("a", ONE), ("a", ONE)], [("../a", ONE)], [("a", "1")]])
def test_the_writer_refuses_what_the_reader_would(entries: list[tuple[str, str]]) -> None:
    writer = ManifestWriter(io.BytesIO())
    lines = b"".join(line_of(path, digest) for path, digest in entries)
    with pytest.raises(ValueError, match=r"order|folder|line"):
        writer.add_lines(lines)


@pytest.mark.parametrize("entries", [[("a", ONE), ("a", ONE)], [("a\nb", ONE)]])
def test_a_small_manifest_refuses_what_the_reader_would(entries: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"twice|line"):
        manifest_bytes(entries)


@pytest.mark.parametrize("what", ["link", "pipe", "empty"])
def test_a_folder_with_more_than_files_is_not_listed(folder: Path, what: str) -> None:
    odd = folder / "odd"
    {"link": lambda: odd.symlink_to("a0"), "pipe": lambda: os.mkfifo(odd), "empty": odd.mkdir}[what]()
    with pytest.raises(IntegrityError, match="link, a special file or an empty folder"):
        list(folder_manifest(folder))
