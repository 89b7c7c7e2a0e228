"""The stages in order, a module each: what each reads, what it writes, and whose digest it names.

policy -> cohort store -> training.json + checkpoint -> archive + archive.json -> audit.json -> reports
"""

from synthrelease.workflow.auditing import archive_reading, audit_folders, audit_run
from synthrelease.workflow.beginning import begin, policy_of
from synthrelease.workflow.desk import Desk, threads
from synthrelease.workflow.sampling import sample_run
from synthrelease.workflow.training import open_cohort, source_folder, train_run

__all__ = [
    "Desk",
    "archive_reading",
    "audit_folders",
    "audit_run",
    "begin",
    "open_cohort",
    "policy_of",
    "sample_run",
    "source_folder",
    "threads",
    "train_run",
]
