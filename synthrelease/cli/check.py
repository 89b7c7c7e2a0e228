"""``synthrelease check``: every problem in a policy, with its place."""

from __future__ import annotations

from typing import Any

import click

from synthrelease.cli import options
from synthrelease.cli.console import Console


@click.command("check", short_help="Find every problem in a policy.")
@click.argument("policies", nargs=-1, metavar="POLICY...")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a policy, for editors.")
@click.option("--resolved", is_flag=True, help="Print the policy with every default spelled out.")
@options.speech
def command(policies: tuple[str, ...], schema: bool, resolved: bool, as_json: bool, quiet: bool) -> int:
    """Find every problem in one or more policies at once.

    Exit code 2 when a policy has a problem; each is one line `file:line:col: path: message`.
    """
    import json

    from synthrelease.dicom.release.settings import require_possible
    from synthrelease.errors import PolicyError, UsageError
    from synthrelease.policy.loader import load_policy, policy_digest
    from synthrelease.policy.loader import resolved as spelled_out
    from synthrelease.policy.schema import Policy
    from synthrelease.policy.shipped import shipped_file

    console = Console(as_json=as_json, quiet=quiet)
    if schema:
        click.echo(json.dumps(Policy.model_json_schema(), indent=2))
        return 0
    if not policies:
        raise UsageError("no policy named", fix="Name one or more policy files, or ask for --schema.")
    good: list[dict[str, Any]] = []
    problems: list[str] = []
    worst = 0
    for name in policies:
        try:
            policy = load_policy(shipped_file("policies", name))
        except (PolicyError, UsageError) as error:
            problems += error.message.splitlines()
            worst = error.exit_code
            continue
        try:
            require_possible(policy)
        except (PolicyError, UsageError) as error:
            problems.append(f"{name}: {error.message}")
            worst = error.exit_code
            continue
        good.append({"policy": name, "digest": policy_digest(policy), "resolved": spelled_out(policy)})
    value = {"problems": problems, "policies": good}
    lines = [*problems]
    for each in good:
        lines.append(f"{each['policy']}: fine (digest {each['digest'][:12]})")
        if resolved:
            lines.append(json.dumps(each["resolved"], indent=2))
    console.answer("\n".join(lines), value)
    return worst
