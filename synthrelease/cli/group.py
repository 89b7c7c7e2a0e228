"""The ``synthrelease`` command: its verbs in the order in which work happens, and what becomes of an error."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from synthrelease.errors import SynthreleaseError

# Verb, module and the sentence in --help. The modules are imported when their verb runs, so help is instant.
VERBS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Prepare",
        (
            ("check", "Find every problem in a policy, with its place."),
            ("plan", "Tell what a run would do, cost and promise; reads no pixel."),
            ("audit-mechanism", "Try by experiment whether the privacy mechanism keeps its claim."),
            ("features", "Fit an image encoder without labels, or tell whom one has seen."),
        ),
    ),
    (
        "Make",
        (
            ("train", "Train the generator that a policy asks for."),
            ("sample", "Write the synthetic DICOM archive of a trained run."),
        ),
    ),
    (
        "Judge",
        (
            ("audit", "Audit a run, or any synthetic folder against a real one."),
            ("reader-study", "Let people tell real from synthetic: write a blinded study, score the answers."),
            ("explain", "What a check of the audit asks, how, and what it does not see."),
            ("run", "Train, sample and audit in one go."),
            ("demo", "The whole job on simulated patients, in minutes."),
        ),
    ),
    (
        "Release",
        (
            ("statement", "Write the privacy claim of a run: text, JSON or registry record."),
            ("approve", "Sign what an audit says about a run."),
            ("refuse", "Record a refusal; it blocks until a new audit."),
            ("keygen", "Make the key that signs releases."),
            ("release", "Seal and sign an approved run: a pack for recipients."),
            ("verify", "Check a sealed pack and its signature, offline."),
            ("ledger", "Show, verify or cap what runs spend on a cohort."),
        ),
    ),
)


class VerbGroup(click.Group):
    """Loads a verb's module when it is called, and turns refusals into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for _, verbs in VERBS for verb, _ in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"synthrelease.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"there is no verb '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, verbs in VERBS:
            with formatter.section(title):
                formatter.write_dl(list(verbs))


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"synthrelease {version('synthrelease')}")
        ctx.exit()


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SYNTHRELEASE"},
    epilog="Exit codes: 0 done or passed, 1 bug, 2 usage or policy, 3 audit failed, 4 audit inconclusive, "
    "5 budget refused, 6 integrity, 7 approval, 8 unsuitable data or environment, 130 interrupted (resumable).",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def group() -> None:
    """Release synthetic medical images that stand up to a privacy officer.

    A policy and a private archive go in; a synthetic archive, its audit and a sealed release come out.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code of what happened."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    # Must be said before the numerical libraries load: threads that wait by spinning make a shared machine
    # several times slower, and cost nothing measurable on a quiet one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        outcome: Any = group.main(args=arguments, prog_name="synthrelease", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("synthrelease: interrupted; the same command with --resume goes on", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("synthrelease: interrupted; the same command with --resume goes on", err=True)
        return 130
    except SynthreleaseError as error:
        _refuse(error, as_json="--json" in arguments)
        return error.exit_code
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _bug(error)
    return outcome if isinstance(outcome, int) else 0


def _refuse(error: SynthreleaseError, *, as_json: bool) -> None:
    if as_json:
        what = {"error": type(error).__name__, "message": error.message, "fix": error.fix, "exit_code": error.exit_code}
        click.echo(json.dumps(what, indent=2))
    click.echo(f"synthrelease: {error}", err=True)


def _bug(error: Exception) -> int:
    """A fault of ours. The trace may hold private values, so it goes to a file and not to the screen."""
    import tempfile

    with tempfile.NamedTemporaryFile(
        "w", prefix="synthrelease-fault-", suffix=".private.txt", delete=False, encoding="utf-8"
    ) as trace:
        trace.write("".join(traceback.format_exception(error)))
    click.echo(
        f"synthrelease: unexpected {type(error).__name__}; this is a bug. The trace is in {Path(trace.name)}; "
        "it may hold private values, read it before you pass it on.",
        err=True,
    )
    return 1
