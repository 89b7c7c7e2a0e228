"""The archive into the pack: checked against its record, then copied and compared once more in the same reading.

It is a copy, and neither a hard link nor a clone. A hard link shares its bytes with the run's folder, where the next
`sample` or a stray edit would change a sealed pack; and with a copy the bytes that were compared are the bytes that
were written. One flush of the whole file system at the end takes the place of one for every file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError
from synthrelease.privacy.export import LOOKED_AT, weights_in
from synthrelease.records.digests import digest_of_file
from synthrelease.records.manifest import MANIFEST, ManifestWriter, lines_of, problems
from synthrelease.release import bag
from synthrelease.release.contents import Problems
from synthrelease.release.run_records import ARCHIVE

_FIX = "Sample and audit again."
_BLOCK = 1 << 20


class Archive:
    """The archive of a run, about to be sealed: whole, and every file as it was sampled.

    Args:
        folder: ``archive/`` of the run.
        record: archive.json.

    Raises:
        IntegrityError: It is not what archive.json names, or a name has no place in a bag; names the files.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self._folder = folder
        self._manifest = folder / MANIFEST
        self._recorded = record["manifest"]
        if self._manifest.is_symlink() or not self._manifest.is_file():
            raise IntegrityError(f"the archive has no {MANIFEST}", fix=_FIX)
        if digest_of_file(self._manifest) != self._recorded["sha256"]:
            raise IntegrityError(f"the archive's {MANIFEST} is not the one that {ARCHIVE} names", fix=_FIX)
        files = self._names_fit_a_bag()
        if files != self._recorded["files"]:
            raise IntegrityError(f"{ARCHIVE} counts {self._recorded['files']} files, its manifest {files}", fix=_FIX)
        found = Problems()
        for problem in problems(folder):
            found.add(*problem)
        found.refuse(_FIX)

    def _names_fit_a_bag(self) -> int:
        """Look at every name; returns how many there are."""
        files = 0
        twins = bag.Twins()
        for path, _ in lines_of(self._manifest):
            files += 1
            why = bag.name_problem(path)
            if why is not None:
                raise IntegrityError(f"the archive's file {ascii(path)[1:-1]} {why}", fix=_FIX)
            if twins.twin(path, os.path.lexists(self._folder / path.upper())):
                raise IntegrityError(f"two files of the archive differ by case alone: {path}", fix=_FIX)
        return files

    def write_manifest(self, pack: Path) -> str:
        """The bag's manifest: the archive's, with ``data/`` before every path.

        Returns:
            Its SHA-256.
        """
        with (pack / bag.PAYLOAD_MANIFEST).open("xb") as stream:
            writer = ManifestWriter(stream)
            for path, digest in lines_of(self._manifest):
                writer.add(bag.DATA + path, digest)
        return writer.digest

    def copy(self, pack: Path, *, objects: bool) -> int:
        """Copy a part of the archive into the pack.

        Args:
            pack: The pack, in the making.
            objects: The DICOM objects; False: everything else.

        Returns:
            Bytes copied.

        Raises:
            IntegrityError: A file changed meanwhile, or holds weights under whatever name; names the files.
        """
        found = Problems()
        total = 0
        parent = None
        for path, digest in self._part(objects):
            target = pack / bag.DATA / path
            if target.parent != parent:
                parent = target.parent
                parent.mkdir(parents=True, exist_ok=True)
            found_digest, size, inside = _copied(self._folder / path, target)
            if found_digest != digest:
                found.add("changed", path)
            if inside:
                found.add("weights", path)
            total += size
        found.refuse(_FIX)
        return total

    def payload(self, total: int) -> bag.Payload:
        """The archive as it was copied.

        Raises:
            IntegrityError: It has another size than archive.json says.
        """
        if total != self._recorded["bytes"]:
            raise IntegrityError(f"{ARCHIVE} counts {self._recorded['bytes']} bytes, its files {total}", fix=_FIX)
        return bag.Payload(self._recorded["sha256"], self._recorded["files"], total)

    def _part(self, objects: bool) -> Iterator[tuple[str, str]]:
        return (line for line in lines_of(self._manifest) if line[0].startswith(bag.OBJECTS) is objects)


def _copied(source: Path, target: Path) -> tuple[str, int, str]:
    """SHA-256 and size of what was read and written, and what it holds of a network."""
    digest, size, inside = hashlib.sha256(), 0, ""
    with source.open("rb") as reader, target.open("xb") as writer:
        while block := reader.read(_BLOCK):
            inside = inside if size else weights_in(block[:LOOKED_AT])
            digest.update(block)
            writer.write(block)
            size += len(block)
    return digest.hexdigest(), size, inside
