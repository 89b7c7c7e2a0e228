"""Which configurations are measured, each in a fresh process."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from statistics import median
from typing import TypeVar

from benchmarks.dp_step.measuring import Effort, Timing, peak, timed
from benchmarks.dp_step.networks import NETWORKS, Configuration
from benchmarks.dp_step.rows import Row

T = TypeVar("T")

STANDARD_DRAWS = ((64, 1), (64, 4), (128, 1), (256, 4))
"""(images, images a patient) of the standard run."""

EVERY_DRAW = tuple(product((64, 128, 256), (1, 4)))

QUICK_DRAWS = ((64, 1), (64, 4))

# A process that has loaded everything and run nothing: what is forked from it starts alike, and at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.dp_step.measuring", "opacus.grad_sample", "opacus.optimizers"])


def configurations(
    draws: Iterable[tuple[int, int]],
    *,
    networks: Sequence[str] = (),
    sizes: Sequence[str] = (),
    resolutions: Sequence[int] = (),
    batches: Sequence[int] = (),
) -> list[Configuration]:
    """Every network at every size and resolution, all small batches first; an empty choice is no restriction."""
    return [
        Configuration(name, size, resolution, batch, images)
        for batch, images in sorted(draws)
        for name, network in NETWORKS.items()
        for size, widths in network.widths.items()
        for resolution in widths
        if all(
            not chosen or value in chosen
            for value, chosen in ((name, networks), (size, sizes), (resolution, resolutions), (batch, batches))
        )
    ]


def of_memory(chosen: Sequence[Configuration]) -> set[Configuration]:
    """Where memory is measured: each network's largest step with one image a patient, which all contenders can do."""
    largest: dict[tuple[str, str, int], Configuration] = {}
    for configuration in chosen:
        if configuration.images == 1:
            largest[configuration.network, configuration.size, configuration.resolution] = configuration
    return set(largest.values())


def in_fresh_process(work: Callable[..., T], *arguments: object) -> T:
    """The result of a call made in a process that has run nothing before.

    Raises:
        BrokenProcessPool: The process was ended, for want of memory as a rule.
    """
    with ProcessPoolExecutor(1, mp_context=_CONTEXT) as pool:
        return pool.submit(work, *arguments).result()


def nothing(names: tuple[str, ...], reason: str) -> Timing:
    """A configuration of which nothing was measured."""
    return Timing(0, {}, dict.fromkeys(names, reason))


def measured(
    chosen: Sequence[Configuration], names: tuple[str, ...], effort: Effort, weighed: Container[Configuration] = ()
) -> Iterator[Row]:
    """Measure one configuration after the other.

    Args:
        chosen: Configurations; small batches first, since they tell what a larger one takes.
        names: Contenders.
        effort: How long each may take, and all of them.
        weighed: Those of which memory is measured too.
    """
    clock = "cpu" if effort.threads == 1 else "wall"
    began = time.perf_counter()
    known: dict[tuple[str, str, int], dict[str, float]] = {}
    for configuration in chosen:
        if time.perf_counter() - began > effort.altogether:
            yield Row(configuration, clock, nothing(names, "the time given was spent"))
            continue
        an_image = known.setdefault((configuration.network, configuration.size, configuration.resolution), {})
        expected = {name: seconds * configuration.batch for name, seconds in an_image.items()}
        try:
            timing = in_fresh_process(timed, configuration, names, effort, expected)
        except BrokenProcessPool:
            yield Row(configuration, clock, nothing(names, "the process was ended"))
            continue
        an_image |= {name: median(each.wall) / configuration.batch for name, each in timing.times.items()}
        peaks = {}
        if configuration in weighed:
            for name in timing.times:
                try:
                    peaks[name] = in_fresh_process(peak, configuration, name, effort.threads)
                except BrokenProcessPool:
                    peaks[name] = None
        yield Row(configuration, clock, timing, peaks)
