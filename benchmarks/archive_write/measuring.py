"""Times in turns, bytes compared, and the memory of a writer on its own.

CPU seconds decide, since others may use the machine; wall seconds are told beside them. All rounds write into fresh
folders and nothing is removed before the end: ext4 looks at every recently removed inode again when it makes a file,
which would measure the removal of the round before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.archive_write.contenders import ours, plain, slow_files
from benchmarks.archive_write.workload import forms, held, random_batch, settings_of
from synthrelease.archive.samples import shard_count
from synthrelease.archive.writer import held_samples, write_archive
from synthrelease.dicom.release.templates import release_templates

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Rate:
    """Pairs of image and segmentation a second.

    Attributes:
        cpu: A second of processor time, all processes together.
        wall: A second of the clock.
        rounds: Of which the median is taken.
    """

    cpu: float
    wall: float
    rounds: int

    def to_json(self) -> dict[str, float]:
        """For the record."""
        return {"pairs_per_cpu_second": self.cpu, "pairs_per_wall_second": self.wall, "rounds": self.rounds}


@dataclass(frozen=True)
class Duel:
    """Both contenders at one image size, in turns."""

    side: int
    images: int
    templates_s: float
    ours: Rate
    plain: Rate

    @property
    def speedup(self) -> float:
        """CPU time of plain highdicom over ours."""
        return self.ours.cpu / self.plain.cpu


def duel(home: Path, side: int, images: int, rounds: int, plain_images: int) -> Duel:
    """Write by both in turns."""
    settings = settings_of(images, side)
    samples = held(settings)
    templates_s = _cpu(lambda: release_templates.__wrapped__(settings))[0]
    ours(home / "warm-ours", held(settings_of(2, side)))
    plain(home / "warm-plain", samples, 2)
    mine, theirs = [], []
    for number in range(rounds):
        mine.append(_cpu(lambda at=home / f"ours-{number}": ours(at, samples)))  # type: ignore[misc]
        theirs.append(_cpu(lambda at=home / f"plain-{number}": plain(at, samples, plain_images)))  # type: ignore[misc]
    return Duel(side, images, templates_s, _rate(mine, images), _rate(theirs, plain_images))


def several(home: Path, side: int, images: int, processes: int) -> Rate:
    """Ours by several processes; their start is part of it."""
    samples = held(settings_of(images, side))
    release_templates(samples.settings)
    return _rate([_cpu(lambda: ours(home / f"processes-{processes}", samples, processes=processes))], images)


def identity(home: Path, side: int, repeats: int) -> dict[str, tuple[int, int]]:
    """(same files, files) by form: what the writer wrote against what highdicom gives for the same random content."""
    found = {}
    for seed, (name, one) in enumerate(forms(side).items()):
        settings = replace(one, images=repeats)
        batch = random_batch(repeats, settings, seed)
        labels = batch.labels.repeat(settings.images_per_patient)[:repeats]
        batch = replace(batch, labels=labels)
        folder = home / f"identity-{seed}"
        write_archive(folder, held_samples(batch, settings), settings)
        same = [
            (folder / path).read_bytes() == content
            for index in range(repeats)
            for path, content in slow_files(batch, index, index + 1, settings)
        ]
        found[name] = (sum(same), len(same))
    return found


def peak_mb(home: Path, side: int, images: int) -> float:
    """Peak resident memory of a process that writes so many images, MB."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.archive_write.measuring",
            str(home / f"memory-{images}"),
            str(side),
            str(images),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def _rate(times: list[tuple[float, float]], images: int) -> Rate:
    cpu, wall = (images / median(column) for column in zip(*times, strict=True))
    return Rate(cpu, wall, len(times))


def _cpu(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this process and its ended children, and wall seconds."""
    before, start = _used(), time.perf_counter()
    work()
    return _used() - before, time.perf_counter() - start


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _memory(folder: Path, side: int, images: int) -> None:
    samples = held(settings_of(images, side))
    assert shard_count(samples.settings) > 1
    ours(folder, samples)
    print(json.dumps(_own_peak_kb() / 1024))


def _own_peak_kb() -> int:
    """Peak resident memory of this program; `ru_maxrss` would include that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _memory(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
