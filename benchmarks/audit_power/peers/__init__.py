"""Other tools, each in an environment of its own, asked by subprocess: arrays in, statistics out.

What is not installed (see ``peers/install``) is not asked, and the table says so. The tools are made for tables, so
that they are given 64 pooled pixels an image.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from benchmarks.audit_power.worlds import cache_folder

HERE = Path(__file__).resolve().parent
POOLED = 8

Array = npt.NDArray[np.float64]
Answers = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Peer:
    """A tool.

    Attributes:
        title: Name and version.
        worlds: So many worlds are worth its time. sets: Of these sets; empty: all.
        larger_is_worse: By statistic.
        rule: What it says of a set by its authors' rule, by statistic; where they publish none, nothing stands here.
    """

    title: str
    worlds: int
    larger_is_worse: Mapping[str, bool]
    rule: Mapping[str, tuple[str, float]]
    sets: tuple[str, ...] = ()


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "mostlyai_qa": Peer(
            "mostlyai-qa 1.10.11",
            10,
            {"IMS": True, "DCR share": True, "NNDR ratio": False},
            {
                "IMS": ("above that of holdout records, here 0", 0.0),
                "DCR share": ("significantly above 0.5, read as binomial at 5 %", 0.5 + 1.645 * 0.5 / 1000**0.5),
            },
        ),
        "sdmetrics": Peer(
            "SDMetrics 0.32.0",
            3,
            {"overfitting protection": False},
            {},
            ("clean", "blurred", "exact 1 %", "exact 10 %", "hflip 10 %"),
        ),
        "syntheval": Peer(
            "SynthEval 1.7.3",
            3,
            {
                "median DCR": False,
                "hitting rate": True,
                "identifiability": True,
                "identifiability loss": True,
                "MIA precision": True,
            },
            {},
        ),
        "anonymeter": Peer(
            "Anonymeter 1.1.0",
            10,
            {"linkability": True, "linkability, lower end": True},
            {"linkability, lower end": ("the 95 % interval of the risk excludes 0", 0.0)},
        ),
    }
)


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, whether it is there or not."""
    return cache_folder() / "peers" / name / "bin" / "python"


def installed() -> list[str]:
    """Peers that can be asked."""
    return [name for name in PEERS if (python_of(name).parents[1] / ".installed").is_file()]


def pooled(images: npt.NDArray[np.float32]) -> Array:
    """(N, 1, 64, 64) to (N, 64): means of blocks."""
    side = images.shape[-1] // POOLED
    blocks = images.reshape(len(images), POOLED, side, POOLED, side)
    return np.asarray(blocks.mean((2, 4)).reshape(len(images), -1), dtype=np.float64)


def ask(name: str, train: Array, holdout: Array, sets: Mapping[str, Array], seconds: float = 300.0) -> Answers:
    """Statistics of each set by one peer; sets that it did not finish in time, or that broke it, are missing.

    Args:
        name: A peer that is installed. train, holdout: (n, D). sets: (M, D) by name. seconds: Allowed for all sets.
    """
    peer = PEERS[name]
    names = [each for each in sets if not peer.sets or each in peer.sets]
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "sets.npz", Path(folder) / "answers.json"
        numbered = {f"syn_{index}": sets[each] for index, each in enumerate(names)}
        np.savez(given, train=train, holdout=holdout, **numbered)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
        environment.pop("PYTHONPATH", None)
        command = [str(python_of(name)), str(HERE / f"ask_{name}.py"), str(given), str(answers)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, timeout=seconds, env=environment, capture_output=True, check=False)
        found = json.loads(answers.read_text(encoding="utf-8")) if answers.is_file() else {}
    return {names[int(key)]: value["found"] for key, value in found.items() if value["found"]}
