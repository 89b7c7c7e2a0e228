"""Time of one configuration, contenders in turns; and the peak memory of one contender.

Each function runs in a process of its own, see :mod:`benchmarks.dp_step.running`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.dp_step.contenders import CONTENDERS, Constants, Step
from benchmarks.dp_step.networks import Configuration, Workload, parameters, workload

WARM_ROWS = 16
"""Images of the step that is not counted: it makes Adam's state, and whatever a contender keeps for later."""

LEAST_ROUNDS = 2


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        threads: Of torch.
        rounds: At most so many rounds a configuration.
        seconds: No further round once this has passed, but for the first two.
        limit: A contender whose step takes longer, in seconds, is not repeated, and not tried on a larger batch that
            would take longer.
        altogether: No further configuration once so many seconds have passed.
    """

    threads: int = 1
    rounds: int = 9
    seconds: float = 10.0
    limit: float = 5.0
    altogether: float = 600.0


@dataclass(frozen=True)
class Times:
    """Steps of one contender, one a round, in seconds; the noise in CPU seconds.

    Attributes:
        first: Wall seconds of the step before the rounds, on a few patients; not counted, but told.
    """

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    noise: list[float | None] = field(default_factory=list)
    first: float = 0.0

    def add(self, step: Step, inputs: Mapping[str, Tensor]) -> None:
        """Run and time one step."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.noise.append(step(inputs))
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)


@dataclass(frozen=True)
class Timing:
    """What a configuration took: by contender its times, or why it has none."""

    parameters: int
    times: dict[str, Times]
    skipped: dict[str, str]


def first_rows(work: Workload) -> dict[str, Tensor]:
    """The first few patients."""
    images = next(iter(work.inputs.values())).shape[1]
    return {name: value[: max(1, WARM_ROWS // images)] for name, value in work.inputs.items()}


def warmed(name: str, configuration: Configuration) -> tuple[Step, float]:
    """A contender's step on a network of its own, after one on a few patients, and the seconds that one took."""
    work = workload(configuration)
    step = CONTENDERS[name].build(work.module, work.loss, Constants())
    began = time.perf_counter()
    step(first_rows(work))
    return step, time.perf_counter() - began


def timed(
    configuration: Configuration, names: tuple[str, ...], effort: Effort, expected: Mapping[str, float]
) -> Timing:
    """Time the contenders in turns, each round in another order.

    Args:
        configuration: What is stepped.
        names: Contenders, keys of :data:`CONTENDERS`.
        effort: How long.
        expected: Seconds that a step of a contender should take, where a smaller batch told.
    """
    torch.set_num_threads(effort.threads)
    work = workload(configuration)
    steps: dict[str, Step] = {}
    times: dict[str, Times] = {}
    skipped: dict[str, str] = {}
    for name in names:
        reason = CONTENDERS[name].refusal(configuration)
        if not reason and expected.get(name, 0.0) > effort.limit:
            reason = f"about {expected[name]:.0f} s a step, limit {effort.limit:g} s"
        if reason:
            skipped[name] = reason
            continue
        try:
            steps[name], first = warmed(name, configuration)
        except (RuntimeError, NotImplementedError) as error:
            if not CONTENDERS[name].opacus:
                raise
            skipped[name] = f"refused: {str(error).splitlines()[0].split(', tensor(')[0][:100]}"
        else:
            times[name] = Times(first=first)
    began = time.perf_counter()
    for turn in range(effort.rounds):
        if turn >= LEAST_ROUNDS and time.perf_counter() - began > effort.seconds:
            break
        order = list(steps)
        order = order[turn % len(order) :] + order[: turn % len(order)]
        for name in order:
            if turn and times[name].wall[0] > effort.limit:
                continue
            times[name].add(steps[name], work.inputs)
    return Timing(parameters(work.module), times, skipped)


def ratio(above: Times, below: Times, clock: str) -> float:
    """Median over the rounds that both ran of the ratio within a round."""
    one, other = (above.cpu, below.cpu) if clock == "cpu" else (above.wall, below.wall)
    both = min(len(one), len(other))
    return median(a / b for a, b in islice(zip(one, other, strict=False), both))


@dataclass(frozen=True)
class Peak:
    """Peak resident memory in MB (10^6 bytes) above what is resident between steps.

    Attributes:
        step: Of one step.
        first: Of the very first step, which may try out and keep things.
    """

    step: float
    first: float


def peak(configuration: Configuration, name: str, threads: int) -> Peak | None:
    """Peak memory of one contender. Call it in a fresh process.

    Returns:
        None where the system does not tell the peak, or does not let it start anew.
    """
    torch.set_num_threads(threads)
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # Large blocks go back to the system when they are freed, so that the peak is of what was held at once.
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 16)
    work = workload(configuration)
    step = CONTENDERS[name].build(work.module, work.loss, Constants())
    try:
        step(first_rows(work))
        first, resident = memory_mb("VmHWM"), memory_mb("VmRSS")
        (PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    step(work.inputs)
    return Peak(memory_mb("VmHWM") - resident, first - resident)


PROCESS = Path("/proc/self")

M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""


def memory_mb(name: str) -> float:
    """A figure of this process: ``VmRSS`` now, ``VmHWM`` the highest since the start or since it was cleared.

    Raises:
        OSError: The system is not Linux.
    """
    lines = (PROCESS / "status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))
