"""Answers go to standard output, progress to standard error: plain lines unless a person watches."""

from __future__ import annotations

import json

import pytest

from synthrelease.cli.console import Console


class Terminal:
    """Standard error as a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_progress_is_plain_lines_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.stage("training", 100)
    for done in range(1, 101):
        console.step(done, "epsilon so far 1.0")
    console.answer("done", {"done": True})
    out, err = capsys.readouterr()
    assert out == "done\n"
    assert err == "training (100)\n"
    assert "\r" not in err


def test_a_terminal_sees_steps_epsilon_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    console = Console()
    console.stage("training", 100)
    now = iter([50.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now, 70.0))
    console._began = console._shown = 0.0
    console.step(25, "epsilon so far 1.25")
    assert "training 25/100, 2 min 30 s left, epsilon so far 1.25" in terminal.text


def test_quiet_says_nothing_but_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True, quiet=True)
    console.stage("training", 3)
    console.step(3)
    console.note("a note")
    console.answer("text", {"a": 1})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1}
    assert err == ""
