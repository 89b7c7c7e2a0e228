"""What verbs answer: the plan, a training, an archive, an audit and a whole run, for people and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.policy.schema import Policy
    from synthrelease.records.runs import Run

EXIT_OF_VERDICT = {"pass": 0, "fail": 3, "inconclusive": 4}


def plan_answer(console: Console, policy_name: str, cohort: str | None, home: Path, ledger_home: Path | None) -> int:
    """Print what a run would do; 5 when the ledger would refuse it."""
    from synthrelease.policy.loader import load_policy, policy_digest
    from synthrelease.policy.shipped import shipped_file
    from synthrelease.privacy.accounting import composed_epsilon
    from synthrelease.privacy.risk import risk_of
    from synthrelease.records.ledger import Ledger
    from synthrelease.training.planning import plan_of

    path = shipped_file("policies", policy_name)
    policy = load_policy(path, cohort)
    digest = policy_digest(policy)
    source = policy.cohort.source
    value: dict[str, Any] = {
        "policy": path.name,
        "digest": digest,
        "generator": policy.generator.name,
        "images": policy.archive.images,
    }
    lines = [
        f"Plan for {path.name} (digest {digest[:12]}); nothing was trained or written",
        *_cohort_lines(policy, source),
    ]
    plan = plan_of(policy)
    refused = False
    if plan is None:
        lines.append("  Privacy    none: no bound on what the archive tells of a patient; the ledger becomes unbounded")
        value["privacy"] = {"mode": "none"}
    else:
        risk = risk_of(plan.mechanisms)
        lines.append(
            f"  Privacy    epsilon {plan.epsilon:.2f} at delta {plan.delta:.0e} per patient, Gaussian-DP mu {risk['mu']:.2f}"
        )
        for mechanism in plan.mechanisms:
            taken = f"{mechanism.steps} x " if mechanism.steps > 1 else ""
            share = f"sampling {mechanism.sampling_probability:.3g}, " if mechanism.sampling_probability < 1 else ""
            lines.append(
                f"             {taken}{mechanism.name}: {share}noise {mechanism.noise_multiplier:.3f} of the bound"
            )
        hits = risk["true_positive_rate"]
        lines.append(
            "             worst case, a membership attack finds "
            + ", ".join(f"{float(rate):.0%} at {float(false):.1%} false alarms" for false, rate in hits.items())
        )
        lines.append("             read it with the audit; it is a bound, not a verdict")
        ledger = Ledger((ledger_home or home / "ledgers") / f"{policy.cohort.name}.jsonl")
        together = composed_epsilon(ledger, plan.delta, further=plan.mechanisms)
        cap = policy.privacy.lifetime_epsilon
        refused = cap is not None and together > cap and source != "phantom"
        word = (
            "over the cap: refused"
            if refused
            else "over the cap, but nobody is real"
            if cap and together > cap
            else "fine"
        )
        lines.append(
            f"  Ledger     {policy.cohort.name}: epsilon {together:.2f} together with earlier runs"
            + (f", cap {cap:g}: {word}" if cap else "; no cap")
        )
        value["privacy"] = {**plan.to_json(), "risk": risk, "composed_epsilon": together, "lifetime_epsilon": cap}
    lines += _audit_lines(policy)
    value["would_refuse"] = refused
    console.answer("\n".join(lines), value)
    return 5 if refused else 0


def _cohort_lines(policy: Policy, source: str) -> list[str]:
    cohort = policy.cohort
    what = (
        f"{cohort.phantom.patients} simulated patients"
        if source == "phantom"
        else "a private folder, not opened by plan"
    )
    return [
        f"  Cohort     {cohort.name}: {what}; {cohort.holdout_fraction:.0%} of patients held out",
        f"             classes {', '.join(cohort.classes)}; masks {', '.join(cohort.segments) or 'none'}; {cohort.resolution} px",
        f"  Generator  {policy.generator.name}; archive of {policy.archive.images} images",
    ]


def _audit_lines(policy: Policy) -> list[str]:
    """What an audit of that many images and patients can see, by the exact binomial bounds."""
    from math import ceil, log

    smallest = 1 - 0.05 ** (1 / policy.archive.images)
    lines = [
        f"  Audit      profile {policy.audit.profile}; finding no copy would bound their rate below {smallest:.2%}"
    ]
    patients = policy.privacy.expected_patients
    if policy.cohort.source == "phantom":
        patients = round(policy.cohort.phantom.patients * (1 - policy.cohort.holdout_fraction))
    if patients is not None:
        share = policy.cohort.holdout_fraction
        holdout = round(patients * share / (1 - share))
        needed = ceil(log(0.05) / log(0.99))
        can = "can" if holdout >= needed else "cannot"
        lines.append(
            f"             about {holdout} held-out patients {can} resolve a false alarm rate of 1 % (needs {needed})"
        )
    return lines


def training_answer(console: Console, run: Run) -> int:
    """Print what training.json says."""
    record = run.read(run.training, "train")
    console.answer(
        f"trained run {run.name}\n  {_claim(record)}\n  next: synthrelease sample",
        {"run": str(run.folder), "training": record},
    )
    return 0


def _claim(training: dict[str, Any]) -> str:
    privacy = training["privacy"]
    if privacy["epsilon"] is None:
        return "epsilon: none, this run makes no privacy claim"
    return f"epsilon {privacy['epsilon']:.3f} at delta {privacy['delta']:.0e} per patient ({privacy['accountant']})"


def archive_answer(console: Console, run: Run) -> int:
    """Print what archive.json says."""
    record = run.read(run.archive_record, "sample")
    counts = ", ".join(f"{count} {name}" for name, count in record["class_counts"].items())
    console.answer(
        f"sampled {record['images']} images ({counts}) with {record['segmentations']} segmentations\n"
        f"  archive {run.archive}\n  next: synthrelease audit",
        {
            "run": str(run.folder),
            "archive": str(run.archive),
            "images": record["images"],
            "classes": record["class_counts"],
        },
    )
    return 0


def audit_answer(console: Console, run: Run) -> int:
    """Print the audit as a table; the exit code is the verdict's."""
    import shutil
    import sys

    from synthrelease.report.terminal import audit_text

    record = run.read(run.audit, "audit")
    width = min(150, max(100, shutil.get_terminal_size((120, 40)).columns))
    text = audit_text(record, width=width, colour=sys.stdout.isatty() and not _colourless())
    places = f"  audit   {run.audit}\n  report  {run.report('internal')}\n          {run.report('external')}"
    console.answer(f"{text.rstrip()}\n\n{places}", {"run": str(run.folder), "audit": record})
    return EXIT_OF_VERDICT[record["verdict"]]


def _colourless() -> bool:
    import os

    return bool(os.environ.get("NO_COLOR"))


def run_answer(console: Console, run: Run) -> int:
    """Print the end of a whole run: the audit's table, then verdict, epsilon and where everything lies."""
    training, audit = run.read(run.training, "train"), run.read(run.audit, "audit")
    if console.as_json:
        value = {
            "run": str(run.folder),
            "verdict": audit["verdict"],
            "fidelity": audit["fidelity"],
            "epsilon": training["privacy"]["epsilon"],
            "delta": training["privacy"]["delta"],
            "archive": str(run.archive),
            "report": str(run.report("internal")),
        }
        console.answer("", value)
        return EXIT_OF_VERDICT[audit["verdict"]]
    code = audit_answer(console, run)
    console.answer(
        f"\nverdict  {audit['verdict']} (fidelity: {audit['fidelity']})\n"
        f"privacy  {_claim(training)}\n"
        f"archive  {run.archive}\n"
        f"report   {run.report('internal')}",
        None,
    )
    return code
