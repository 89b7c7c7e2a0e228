"""Seal and verify a pack of 10,000 files, and see how memory grows with their number.

    python -m benchmarks.verify_pack [--quick] [--write] [--folder DIR]

One thread throughout. The files have just been written, so a disk is hardly read: what is timed is the work. ``--quick``
takes 1,000 files; ``--write`` keeps the result in ``audits/reference/``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.verify_pack.runs import NOW, write_run
from synthrelease.records.files import atomic_write_json, atomic_write_text
from synthrelease.release import seal, verify

REFERENCE = Path(__file__).resolve().parents[2] / "audits" / "reference"
MOST_SECONDS = 10.0
MOST_GROWTH_MIB = 8.0
FILES = 10_000
ROUNDS = 5

_CHILD = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from synthrelease.release import verify
verify(Path(sys.argv[1]), None, datetime(2026, 3, 1, tzinfo=UTC))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def timed(act: Callable[[], object]) -> dict[str, float]:
    """Seconds on the clock and of this process's own work."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def peak_mib(pack: Path) -> float:
    """Most memory that a fresh process held while it verified."""
    done = subprocess.run([sys.executable, "-c", _CHILD, str(pack)], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def others(pack: Path, rounds: int) -> dict[str, float]:
    """Seconds on the clock of other tools on the same pack, for comparison; only those that are installed."""
    found = {}
    if shutil.which("sha256sum"):
        command = ["sha256sum", "-c", "--quiet", "manifest-sha256.txt"]
        runs = [timed(lambda: subprocess.run(command, cwd=pack, check=True)) for _ in range(rounds)]
        found["sha256sum"] = statistics.median(run["wall_seconds"] for run in runs)
    try:
        import bagit
    except ImportError:
        return found
    runs = [timed(lambda: bagit.Bag(str(pack)).validate()) for _ in range(rounds)]
    found["bagit"] = statistics.median(run["wall_seconds"] for run in runs)
    return found


def measured(folder: Path, files: int, rounds: int) -> dict[str, Any]:
    """Every figure."""
    key = Ed25519PrivateKey.generate()
    run = write_run(folder / "run", files)
    pack = folder / "pack"
    sealing = timed(lambda: seal(run, pack, NOW, key=key))
    verifying = [timed(lambda: verify(pack, None, NOW, key.public_key())) for _ in range(rounds)]
    small, large = folder / "small", folder / "large"
    for target, count in ((small, files // 10), (large, files * 4)):
        seal(write_run(folder / f"run-{target.name}", count, (40, 20)), target, NOW, key=None)
    memory = {str(files // 10): peak_mib(small), str(files * 4): peak_mib(large)}
    return {
        "files": files,
        "bytes": sum(path.stat().st_size for path in (pack / "data").rglob("*") if path.is_file()),
        "seal": sealing,
        "verify": {name: statistics.median(run[name] for run in verifying) for name in verifying[0]},
        "verify_rounds": verifying,
        "others_wall_seconds": others(pack, rounds),
        "peak_mib_by_files": memory,
        "peak_growth_mib": memory[str(files * 4)] - memory[str(files // 10)],
    }


def goals(figures: dict[str, Any]) -> dict[str, Any]:
    """At most so many seconds on the clock of one core for 10,000 files, and memory that does not grow with them."""
    seconds = figures["verify"]["wall_seconds"] * FILES / figures["files"]
    growth = figures["peak_growth_mib"]
    return {
        "verify_seconds_10000_files": {"goal": MOST_SECONDS, "value": seconds, "met": seconds <= MOST_SECONDS},
        "peak_growth_mib": {"goal": MOST_GROWTH_MIB, "value": growth, "met": growth <= MOST_GROWTH_MIB},
    }


def table(figures: dict[str, Any]) -> str:
    """Markdown, for people."""
    verifying, sealing = figures["verify"], figures["seal"]
    rows = [
        ("verify, signature and every byte", verifying["wall_seconds"], verifying["cpu_seconds"]),
        ("seal and sign", sealing["wall_seconds"], sealing["cpu_seconds"]),
        *((f"{name}, files only", seconds, None) for name, seconds in figures["others_wall_seconds"].items()),
    ]
    lines = [
        f"{figures['files']:,} files, {figures['bytes'] / 1e6:.0f} MB, one thread",
        "",
        "| | seconds on the clock | seconds of work |",
        "|---|---|---|",
        *(f"| {name} | {wall:.2f} | {'' if cpu is None else f'{cpu:.2f}'} |" for name, wall, cpu in rows),
        "",
        "| files (tiny) | most memory of a verifying process, MiB |",
        "|---|---|",
        *(f"| {int(count):,} | {peak:.1f} |" for count, peak in figures["peak_mib_by_files"].items()),
    ]
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    """The page beside the recorded figures."""
    goal = result["goals"]["verify_seconds_10000_files"]
    reached = "met" if goal["met"] else "missed"
    return (
        f"# Sealing and verifying a pack\n\n`{result['command']}`, {result['date']}, {result['hardware']}\n\n"
        f"{table(result['figures'])}\n\nGoal: 10,000 files in at most {goal['goal']:g} s of one core; {goal['value']:.2f} s, "
        f"{reached}. Files have the sizes of a radiograph of 128 x 128 pixels and its masks, random content, and were read from "
        "memory more than from the disk. Median of the rounds; sealing was done once.\n"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="1,000 files")
    parser.add_argument("--write", action="store_true", help="keep the result in audits/reference/")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.folder) as place:
        figures = measured(Path(place), FILES // 10 if wanted.quick else FILES, 2 if wanted.quick else ROUNDS)
    reached = goals(figures)
    print(table(figures))
    if wanted.write and not wanted.quick:
        result = {
            "command": "python -m benchmarks.verify_pack --write",
            "versions": {name: version(name) for name in ("synthrelease", "cryptography")},
            "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "figures": figures,
            "goals": reached,
        }
        atomic_write_json(REFERENCE / "verify_pack.json", result)
        atomic_write_text(REFERENCE / "verify_pack.md", page(result))
    print(
        json.dumps(
            {
                "verify_seconds_10000_files": reached["verify_seconds_10000_files"]["value"],
                "files_per_second_core": figures["files"] / figures["verify"]["wall_seconds"],
                "peak_growth_mib": figures["peak_growth_mib"],
                "goals": {name: goal["met"] for name, goal in reached.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
