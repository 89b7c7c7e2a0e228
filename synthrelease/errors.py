"""Every way synthrelease refuses, each with the exit code that the command line turns it into.

An error says what was wrong, where, the value, and what to do. A private value (a patient's identifier, a
pixel, a header value, a path below a private folder) is never part of a message: messages count, they do not name.
"""

from __future__ import annotations


class SynthreleaseError(Exception):
    """A refusal with a stable exit code.

    Args:
        message: What was wrong, where, and the (public) value.
        fix: What the reader can do about it, one sentence.
    """

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  {self.fix}" if self.fix else self.message


class UsageError(SynthreleaseError):
    """Wrong usage of a verb, or a file named on the command line that is not there."""

    exit_code = 2


class PolicyError(SynthreleaseError):
    """The policy cannot be read or breaks a rule; carries every problem found, not only the first."""

    exit_code = 2


class AuditFailed(SynthreleaseError):
    """The audit found a reason not to release."""

    exit_code = 3


class AuditInconclusive(SynthreleaseError):
    """The audit could not decide, or a required check was skipped."""

    exit_code = 4


class BudgetExceeded(SynthreleaseError):
    """The ledger refuses: the privacy budget of the cohort does not cover the run."""

    exit_code = 5


class IntegrityError(SynthreleaseError):
    """A digest, hash chain or schema does not match what was recorded."""

    exit_code = 6


class ApprovalError(SynthreleaseError):
    """An approval is missing, stale, expired, withdrawn, or the same person signed twice."""

    exit_code = 7


class UnsuitableData(SynthreleaseError):
    """The data or the environment cannot serve: no usable image, too few patients, disk full."""

    exit_code = 8


class Interrupted(SynthreleaseError):
    """The run was interrupted; what was done is kept and `--resume` goes on from there."""

    exit_code = 130
