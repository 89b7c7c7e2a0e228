"""The stages in order, a few lines each: what each reads, what it writes, and whose digest it names.

    policy -> cohort store -> training.json + checkpoint -> archive + archive.json -> audit.json -> reports
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthrelease.archive.sampler import draw_samples, label_draw
from synthrelease.archive.writer import ArchiveSettings, write_archive
from synthrelease.audit.case import case_from_stores
from synthrelease.audit.profile import Profile, load_profile
from synthrelease.audit.runner import run_audit
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.phantom import write_phantom_cohort
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import CohortStore
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.generators.registry import load_generator
from synthrelease.policy.loader import policy_digest, policy_from, resolved
from synthrelease.policy.schema import CohortSettings, Policy
from synthrelease.policy.shipped import shipped_file
from synthrelease.records.digests import digest_of, digest_of_file, manifest_of
from synthrelease.records.files import atomic_write_json
from synthrelease.records.findings import AuditRecord
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Progress
from synthrelease.records.runs import Run, new_run
from synthrelease.training.train import train
