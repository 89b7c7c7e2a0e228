"""Times of both contenders in turns, the gain of several processes, memory, and masks beside highdicom."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pydicom

from benchmarks.ingest.cohorts import Cohort, write
from benchmarks.ingest.contenders import apart, ours, plain
from synthrelease.cohort.processes import available_processors
from synthrelease.dicom.mask_reading import open_segmentation, read_segmentation
from synthrelease.records.refusals import Refusal

MOST_APART = 0.01
_PEAK = """
import sys
from pathlib import Path
from benchmarks.ingest.cohorts import Cohort
from benchmarks.ingest.contenders import ours
from synthrelease.cohort.processes import Workers

def peak(process):
    # Not getrusage: there a new process starts with the memory of the one that started it.
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

class Watched(Workers):
    def __exit__(self, *error):
        self.peaks = [peak(process) for process in self._pool._processes] if self._pool else []
        found.append(max([peak("self"), *self.peaks]))
        super().__exit__(*error)

if __name__ == "__main__":
    from synthrelease.cohort import ingest, processes
    found = []
    processes.PATIENCE = 0.0
    ingest.Workers = Watched
    images, count = int(sys.argv[3]), int(sys.argv[4])
    ours(Path(sys.argv[1]), Cohort(128, 32, images), Path(sys.argv[2]), processes=count)
    print(found[-1])
"""


def cpu_seconds(act: Callable[[], object]) -> float:
    """Seconds of this process's own work."""
    began = time.process_time()
    act()
    return time.process_time() - began


def one_core(cohort: Cohort, folder: Path, rounds: int) -> dict[str, Any]:
    """Both contenders in turns, in seconds of work an image; the first round warms up and is not counted.

    Raises:
        RuntimeError: They do not come to the same images.
    """
    write(cohort, folder / "cohort")
    store = ours(folder / "cohort", cohort, folder / "store", processes=1)
    difference = apart(store, plain(folder / "cohort", cohort))
    if store.manifest.images != cohort.images or difference > MOST_APART:
        raise RuntimeError(f"the two loops disagree: {store.manifest.images} images, {difference:.4f} apart")
    each: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        each["plain"].append(cpu_seconds(lambda: plain(folder / "cohort", cohort)))
        each["ours"].append(cpu_seconds(lambda: ours(folder / "cohort", cohort, folder / "store", processes=1)))
    ratios = [one / other for one, other in zip(each["plain"], each["ours"], strict=True)]
    return {
        "cohort": cohort.name,
        "images": cohort.images,
        "uncompressed": cohort.coding == "none",
        "plain_ms": 1e3 * statistics.median(each["plain"]) / cohort.images,
        "ours_ms": 1e3 * statistics.median(each["ours"]) / cohort.images,
        "speedup": statistics.median(ratios),
        "images_per_second_core": cohort.images / statistics.median(each["ours"]),
        "largest_difference": difference,
    }


def several(cohort: Cohort, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds on the clock with one process and with one a processor, the start of the processes included."""
    write(cohort, folder / "cohort")
    processors = available_processors()
    seconds: dict[int, list[float]] = {1: [], processors: []}
    digests = set()
    for _ in range(rounds):
        for processes, taken in seconds.items():
            began = time.perf_counter()
            store = ours(folder / "cohort", cohort, folder / "store", processes=processes)
            taken.append(time.perf_counter() - began)
            digests.add(store.manifest.digest)
    one, many = statistics.median(seconds[1]), statistics.median(seconds[processors])
    return {
        "cohort": cohort.name,
        "images": cohort.images,
        "processors": processors,
        "one_process_seconds": one,
        "all_processors_seconds": many,
        "parallel_speedup": one / many,
        "stores_alike": len(digests) == 1,
    }


def memory(folder: Path, images: int) -> dict[str, float]:
    """Most memory (MiB) of any process of a reading, for so many images and for four times as many."""
    found = {}
    for count in (images, 4 * images):
        place = folder / str(count)
        write(Cohort(128, 32, count), place / "cohort")
        for processes in (1, 2):
            script = place / "peak.py"
            script.write_text(_PEAK)
            command = [sys.executable, str(script), str(place / "cohort"), str(place / "store")]
            done = subprocess.run(
                [*command, str(count), str(processes)],
                check=True,
                capture_output=True,
                text=True,
                env={"PYTHONPATH": ":".join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
            )
            found[f"{count} images, {processes} process{'es' if processes > 1 else ''}"] = int(done.stdout) / 1024
    return found


def masks(folder: Path, rounds: int) -> dict[str, float]:
    """Milliseconds of work for the masks of one image, by us, by highdicom and by pydicom alone."""
    from highdicom.seg import segread

    cohort = Cohort(512, 128, 4)
    write(cohort, folder / "cohort")
    paths = sorted((folder / "cohort").rglob("mask.dcm"))
    opened = open_segmentation(paths[0])
    assert not isinstance(opened, Refusal)

    def by_highdicom(path: Path) -> object:
        file = segread(path)
        source = file.get_source_image_uids()[0][2]
        return file.get_pixels_by_source_instance([source], ignore_spatial_locations=True)

    ways: dict[str, Callable[[Path], object]] = {
        "ours": read_segmentation,
        "highdicom": by_highdicom,
        "pydicom, planes only": lambda path: pydicom.dcmread(path).pixel_array,
    }
    found = {}
    for name, way in ways.items():
        seconds = [cpu_seconds(partial(list, map(way, paths))) for _ in range(rounds)]
        found[name] = 1e3 * statistics.median(seconds) / len(paths)
    return found
