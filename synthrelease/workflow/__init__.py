"""The stages in order, a module each: what each reads, what it writes, and whose digest it names.

policy -> cohort store -> training.json + checkpoint -> archive + archive.json -> audit.json -> reports
"""

from synthrelease.workflow.auditing import archive_reading, audit_run, matter_of_run
from synthrelease.workflow.beginning import begin, policy_of
from synthrelease.workflow.desk import Desk, threads
from synthrelease.workflow.features import Wanted, fit_features
from synthrelease.workflow.foreign import matter_of_folders
from synthrelease.workflow.judging import judge_matter, self_test_matter
from synthrelease.workflow.sampling import sample_run, style_grid
from synthrelease.workflow.training import open_cohort, source_folder, train_run

__all__ = [
    "Desk",
    "Wanted",
    "archive_reading",
    "audit_run",
    "begin",
    "fit_features",
    "judge_matter",
    "matter_of_folders",
    "matter_of_run",
    "open_cohort",
    "policy_of",
    "sample_run",
    "self_test_matter",
    "source_folder",
    "style_grid",
    "threads",
    "train_run",
]
