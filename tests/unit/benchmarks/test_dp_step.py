"""The step benchmark compares equals, leaves nothing out in silence, and claims no goal that it did not measure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.dp_step import __main__ as command
from benchmarks.dp_step import reference, running, tables
from benchmarks.dp_step.contenders import CONTENDERS, Constants
from benchmarks.dp_step.measuring import Effort, Peak, Times, Timing, timed
from benchmarks.dp_step.networks import NETWORKS, Configuration, parameters, workload
from benchmarks.dp_step.rows import Row, figures

SMALL = {"dcgan": "0.3M", "diffusion": "0.3M", "progressive": "0.2M"}
PRIVATE = [name for name in CONTENDERS if name != "plain"]
TINY = {"dcgan": 8, "diffusion": 8, "progressive": 4}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network at 16 px with few parameters, for what is true at any size."""
    for name, width in TINY.items():
        monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], widths={"tiny": {16: width}}))


def at_16_px(network: str, images: int) -> Configuration:
    """Eight images on a tiny network."""
    return Configuration(network, "tiny", 16, 8, images)


def small(network: str = "dcgan", images: int = 1, batch: int = 8) -> Configuration:
    """Few images on a small network."""
    return Configuration(network, SMALL[network], 32, batch, images)


def able(name: str, network: str, images: int) -> bool:
    """Whether a contender can do the work; expanded weights know no class index."""
    return not CONTENDERS[name].refusal(small(network, images)) and (name, network) != ("opacus ew", "diffusion")


def gradient(name: str, configuration: Configuration, constants: Constants) -> Tensor:
    """The gradient that a contender hands to Adam in its first step."""
    work = workload(configuration)
    CONTENDERS[name].build(work.module, work.loss, constants)(work.inputs)
    return torch.cat([p.grad.flatten() for p in work.module.parameters() if p.grad is not None]).double()


CASES = [
    (name, network, images)
    for network in NETWORKS
    for images in (1, 4)
    for name in PRIVATE
    if able(name, network, images)
]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("name", "network", "images"), CASES)
def test_every_contender_without_clipping_and_noise_makes_the_plain_gradient(
    name: str, network: str, images: int
) -> None:
    harmless = Constants(clip_norm=100.0, noise_multiplier=0.0)
    expected = gradient("plain", at_16_px(network, images), harmless)
    found = gradient(name, at_16_px(network, images), harmless)
    assert float((found - expected).norm()) < 1e-4 * float(expected.norm())


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("name", "network", "images"), CASES)
def test_every_contender_clips_every_patient_alike(name: str, network: str, images: int) -> None:
    tight = Constants(clip_norm=0.05, noise_multiplier=0.0)
    expected = gradient("vmap", at_16_px(network, images), tight)
    assert 0 < float(expected.norm()) <= 0.05 * (1 + 1e-5)
    found = gradient(name, at_16_px(network, images), tight)
    # Opacus divides by the norm plus a millionth.
    assert float((found - expected).norm()) < 1e-4 * float(expected.norm())


@pytest.mark.parametrize("name", PRIVATE)
def test_every_contender_noises_every_parameter_by_the_same_spread(name: str) -> None:
    configuration, sigma, C = small(), 3.0, 0.1
    clean = gradient(name, configuration, Constants(C, 0.0))
    noisy = gradient(name, configuration, Constants(C, sigma))
    noise = (noisy - clean) * configuration.patients / (sigma * C)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert (noise != 0).float().mean() > 0.999


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_steps_the_network(name: str) -> None:
    work = workload(small())
    before = [p.detach().clone() for p in work.module.parameters()]
    CONTENDERS[name].build(work.module, work.loss, Constants())(work.inputs)
    assert all(not torch.equal(p, old) for p, old in zip(work.module.parameters(), before, strict=True))


def test_networks_have_about_the_parameters_that_their_size_says() -> None:
    for name, network in NETWORKS.items():
        for size, widths in network.widths.items():
            for resolution in widths:
                made = parameters(workload(Configuration(name, size, resolution, 1, 1)).module)
                assert made == pytest.approx(float(size.removesuffix("M")) * 1e6, rel=0.15)


def test_a_batch_that_is_not_whole_patients_is_refused() -> None:
    with pytest.raises(ValueError, match="whole patients"):
        workload(Configuration("dcgan", "0.3M", 32, 6, 4))


def test_a_contender_that_cannot_do_the_work_is_named_with_its_reason() -> None:
    names = ("plain", "ours", "opacus ghost", "opacus ew")
    timing = timed(small("diffusion", 4), names, Effort(rounds=1), {})
    assert set(timing.times) == {"plain", "ours"}
    assert "patient" in timing.skipped["opacus ghost"]
    assert "batch size" in timing.skipped["opacus ew"]


def test_a_step_that_would_pass_the_limit_is_left_out_and_said() -> None:
    timing = timed(small(), ("plain", "ours", "vmap"), Effort(rounds=1, limit=5.0), {"vmap": 18.2, "ours": 1.0})
    assert timing.skipped == {"vmap": "about 18 s a step, limit 5 s"}
    assert set(timing.times) == {"plain", "ours"}


def test_what_the_time_did_not_suffice_for_is_said() -> None:
    rows = list(running.measured([small(), small(images=4)], ("plain", "ours"), Effort(altogether=0.0)))
    assert [row.timing.times for row in rows] == [{}, {}]
    assert figures(rows)["overhead_vs_plain"] is None
    assert (figures(rows)["configurations"], figures(rows)["compared"]) == (2, 0)
    (line,) = tables.skips(rows)
    assert line.startswith("not measured: all contenders: the time given was spent")
    assert "2 x 4" in line
    assert tables.times(rows)[1][-1] == "-"


def test_a_slow_contender_is_not_repeated_and_others_are() -> None:
    timing = timed(small(), ("plain", "ours"), Effort(rounds=2, limit=0.0), {})
    assert [len(each.cpu) for each in timing.times.values()] == [1, 1]
    timing = timed(small(), ("plain", "ours"), Effort(rounds=3), {})
    assert [len(each.cpu) for each in timing.times.values()] == [3, 3]


def row(plain: float, ours: float, hooks: float | None, ew: float | None, network: str = "dcgan") -> Row:
    """A row with one round of these seconds."""
    seconds = {"plain": plain, "ours": ours, "opacus hooks": hooks, "opacus ew": ew}
    times = {name: Times([s], [s], [s / 10]) for name, s in seconds.items() if s is not None}
    skipped = {name: "refused: why" for name, s in seconds.items() if s is None}
    return Row(small(network), "cpu", Timing(300_000, times, skipped), {"ours": Peak(10.0, 90.0), "plain": None})


def test_the_figures_are_medians_over_configurations_against_the_fastest_mode_of_opacus() -> None:
    rows = [row(1, 2, 8, 6), row(1, 1.5, 3, 6), row(1, 1, None, None, "progressive")]
    found = figures(rows)
    assert found["overhead_vs_plain"] == pytest.approx(1.5)
    assert found["speedup_vs_opacus"] == pytest.approx((6 / 2 + 3 / 1.5) / 2)
    assert found["by_network"]["progressive"]["speedup_vs_opacus"] is None
    assert found["noise_share"] == pytest.approx(0.1)


def test_ratios_are_taken_within_a_round() -> None:
    ours, plain = Times([2.0, 20.0, 2.0], [1.0] * 3, [0.0] * 3), Times([1.0, 10.0, 1.0], [1.0] * 3, [0.0] * 3)
    both = Row(small(), "cpu", Timing(1, {"ours": ours, "plain": plain}, {}))
    assert both.overhead("ours") == 2.0
    assert Row(small(), "wall", both.timing).overhead("ours") == 1.0


@pytest.mark.parametrize(
    ("rows", "met"),
    [
        ([row(1, 1.4, 4, None)], (True, True)),
        ([row(1, 1.6, 4, 3.9)], (False, False)),
        ([row(1, 1.4, None, None)], (True, False)),
        ([], (False, False)),
    ],
)
def test_a_goal_is_met_by_its_figure_alone(rows: list[Row], met: tuple[bool, bool]) -> None:
    goals = reference.goals(rows)
    assert (goals["overhead_vs_plain"]["met"], goals["speedup_vs_opacus"]["met"]) == met


def test_the_reference_names_command_machine_goals_and_what_was_left_out(tmp_path: Path) -> None:
    rows = [row(1, 1.6, 4, None)]
    reference.write(rows, reference.result(rows, command="the command", threads=1), tmp_path)
    kept: dict[str, Any] = json.loads((tmp_path / "dp_step.json").read_text())
    assert {"command", "versions", "hardware", "date", "figures", "goals"} <= set(kept)
    assert kept["figures"]["rows"][0]["skipped"] == {"opacus ew": "refused: why"}
    page = (tmp_path / "dp_step.md").read_text()
    assert "not measured: opacus ew: refused: why" in page
    assert "10 (90)" in page
    assert "| no |" in page


def test_the_command_ends_with_one_line_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "in_fresh_process", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(command, "QUICK_DRAWS", ((8, 4),))
    command.main(["--quick", "--network", "dcgan", "--contender", "opacus hooks", "--minutes", "0.05"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["overhead_vs_plain"] > 0
    assert last["speedup_vs_opacus"] > 0
    assert last["threads"] == 1
    assert last["rows"][0]["patients"] == 2
    assert "torch" in last["versions"]


@pytest.mark.parametrize("part", [["--quick"], ["--network", "dcgan"], ["--no-memory"], ["--batch", "64"]])
def test_a_part_is_never_written_as_the_reference(part: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--write", *part])
    assert "whole run" in capsys.readouterr().err


def test_memory_is_measured_where_every_contender_can_do_the_work() -> None:
    weighed = running.of_memory(running.configurations(running.STANDARD_DRAWS))
    assert {(c.batch, c.images) for c in weighed} == {(128, 1)}
    assert len(weighed) == len(running.configurations(((1, 1),)))


def test_a_first_step_that_needs_more_is_shown_in_brackets() -> None:
    assert tables.megabytes(Peak(19.0, 208.0)) == "19 (208)"
    assert tables.megabytes(Peak(127.0, 20.0)) == "127"
    assert tables.megabytes(None) == "-"
