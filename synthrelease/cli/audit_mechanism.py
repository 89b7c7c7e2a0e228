"""``synthrelease audit-mechanism``: try by experiment whether the privacy mechanism keeps its claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console

if TYPE_CHECKING:
    from synthrelease.training.canary_audit import MechanismAudit

ABOVE = "ABOVE the claim: the implementation does not keep it"
BELOW = "below the claim"


@click.command("audit-mechanism", short_help="Try by experiment whether the mechanism keeps its claim.")
@options.policy()
@click.option(
    "--canaries", type=click.IntRange(20, 100_000), default=1000, show_default=True,
    help="Made-up patients with a coordinate of their own; a small epsilon needs more.",
)  # fmt: skip
@click.option(
    "--image-canaries", type=click.IntRange(0, 10_000), default=99, show_default=True,
    help="Patients with strange pictures in a whole training run; 0 leaves them out.",
)  # fmt: skip
@options.threads
@options.speech
def command(
    policy_name: str, canaries: int, image_canaries: int, threads: int | None, as_json: bool, quiet: bool
) -> int:
    """Put canaries among simulated patients, run what the policy plans, and bound epsilon from below by what comes out.

    Reads no cohort, spends no budget, writes nothing. Exit code 3 when a lower bound passes the claim: then the noise,
    the clipping, the sampling or the accounting is broken. A bound below the claim is not a proof that it is kept.
    """
    from synthrelease.policy.loader import load_policy
    from synthrelease.policy.shipped import shipped_file
    from synthrelease.training.canary_audit import audit_mechanism
    from synthrelease.workflow import threads as computing

    console = Console(as_json=as_json, quiet=quiet)
    path = shipped_file("policies", policy_name)
    policy = load_policy(path)
    with computing(threads):
        audit = audit_mechanism(policy, canaries=canaries, image_canaries=image_canaries, progress=console)
    console.answer(text_of(audit, path.name), {"policy": path.name, **audit.to_json()})
    return 3 if audit.above else 0


def text_of(audit: MechanismAudit, policy: str) -> str:
    """The findings as a table: one row for each kind of canary and score, one column for each bound."""
    from synthrelease.privacy.empirical.bounds import Method

    rows = [("canaries", "score", *map(str, Method), "verdict")]
    for kind, score in dict.fromkeys((f.kind, f.bound.score) for f in audit.findings):
        own = [f for f in audit.findings if (f.kind, f.bound.score) == (kind, score)]
        found = {f.bound.method: f"{f.bound.epsilon:.2f}" for f in own}
        verdict = ABOVE if any(f.above for f in own) else BELOW
        rows.append((f"{own[0].canaries} {kind}", score, *(found.get(method, "-") for method in Method), verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    claim = f"claimed epsilon {audit.epsilon:.2f} at delta {audit.delta:g} per patient"
    highest = max(f.bound.epsilon for f in audit.findings)
    exact = f"with these canaries an exact mechanism is expected to show {audit.expected:.2f}"
    return "\n".join(
        [
            f"Mechanism of {policy} on simulated patients: {claim}",
            "Lower bounds on epsilon by experiment:",
            "",
            *(f"  {line}" for line in lines),
            "",
            f"  Epsilon is at least {highest:.2f}: {ABOVE if audit.above else BELOW};",
            f"  {exact}.",
            "  A column holds at 95 % over the rows of one kind. f-DP and Gaussian bounds take the trade-off for a Gaussian's, the",
            "  Gaussian one takes canaries for independent. A bound below the claim does not prove that the claim is kept.",
        ]
    )
