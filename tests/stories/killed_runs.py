"""A process that starts the command line again and again, and kills it: before the n-th durable write, or at a moment.

Everything heavy is imported once; each attempt is a fork of it. Asked and answered in JSON lines, so that the test's own
process is never forked.

    {"words": [...], "before_write": n}                          die just before the n-th fsync, rename or exchange
    {"words": [...], "before_naming": PATTERN}           die just before a file or folder takes such a name
    {"words": [...], "seen": FILE, "text": TEXT, "after": S}     die S seconds after the file holds more of the text
    {"words": [...]}                                             run to the end

answers {"code": exit code, -9 when killed, "writes": durable writes begun, "said": what was printed}
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

WAIT_S = 0.002


@dataclass(frozen=True)
class Ended:
    """How an attempt ended.

    Attributes:
        code: Exit code; -9 when it was killed.
        writes: Durable writes that it began.
        said: What it printed.
    """

    code: int
    writes: int
    said: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Killer:
    """The other end of this module's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *words: object, **how: Any) -> Ended:
        """Run the command line once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "words": [str(word) for word in words],
            **{key: str(v) if isinstance(v, Path) else v for key, v in how.items()},
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


def count_writes(counts: IO[bytes], deadly: int | None, name: str | None) -> None:
    """Note every durable write before it is done, and die before the one of that number or to that name."""
    done = 0

    def guarded(real: Callable[..., Any], *, names: bool) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal done
            done += 1
            counts.write(b".")
            counts.flush()
            if done == deadly or (names and name is not None and Path(given[1]).match(name)):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        return call

    from synthrelease.records import files

    for act in ("replace", "rename", "link"):
        setattr(os, act, guarded(getattr(os, act), names=True))
    os.fsync = guarded(os.fsync, names=False)
    files._exchange = guarded(files._exchange, names=True)


def attempt(order: Mapping[str, Any]) -> dict[str, Any]:
    """Fork, run, perhaps kill, and tell."""
    counting, counts = os.pipe()
    hearing, voice = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(counting)
        os.close(hearing)
        with os.fdopen(counts, "wb") as stream:
            count_writes(stream, order.get("before_write"), order.get("before_naming"))
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                from synthrelease.cli.group import run

                code = run(order["words"])
            os.write(voice, said.getvalue().encode()[-4000:])
            os._exit(code)
    os.close(counts)
    os.close(voice)
    if "seen" in order:
        wait_and_kill(child, order["seen"], order["text"].encode(), order["after"])
    with os.fdopen(counting, "rb") as stream, os.fdopen(hearing, "rb") as heard:
        writes, said = len(stream.read()), heard.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "writes": writes, "said": said}


def wait_and_kill(child: int, pattern: str, text: bytes, after: float) -> None:
    """Kill the child some time after any file of that name holds the text more often than now, unless it ends first."""

    def found() -> int:
        paths = [Path(path) for path in glob.glob(pattern, include_hidden=True)]
        return sum(path.read_bytes().count(text) for path in paths) if text else len(paths)

    before = found()
    while found() <= before:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(WAIT_S)
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def orders() -> Iterator[dict[str, Any]]:
    """What is asked for, until the other end closes."""
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    """Answer until asked no more."""
    import torch

    import synthrelease.workflow  # noqa: F401
    from synthrelease.cli import group  # noqa: F401
    from synthrelease.policy.loader import load_policy
    from synthrelease.privacy.cross_check import prv_epsilon
    from synthrelease.privacy.risk import risk_of
    from synthrelease.training.planning import plan_of

    torch.set_num_threads(1)
    known: set[str] = set()
    for order in orders():
        asked = dict(zip(order["words"], order["words"][1:], strict=False))
        if "--policy" in asked and asked["--policy"] not in known:
            known.add(asked["--policy"])
            # Found once, for all attempts: these are remembered by what they are asked.
            plan = plan_of(load_policy(Path(asked["--policy"]), asked.get("--cohort")))
            assert plan is not None
            prv_epsilon(plan.mechanisms, plan.delta)
            risk_of(plan.mechanisms)
        print(json.dumps(attempt(order)), flush=True)


if __name__ == "__main__":
    main()
