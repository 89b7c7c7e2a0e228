"""A class is a set of findings."""

from __future__ import annotations

import torch

from synthrelease.generators.protocol import Spec
from synthrelease.policy.findings import finding_names, target_table
from synthrelease.policy.schema import CohortSettings


def cohort(**more: object) -> CohortSettings:
    return CohortSettings.model_validate({"name": "c", "classes": ("normal", "nodule", "both"), **more})


def test_without_findings_every_class_is_one() -> None:
    assert finding_names(cohort()) == ("normal", "nodule", "both")
    assert target_table(cohort()) == ()
    assert torch.equal(Spec(16, 3, 0).target_table(), torch.eye(3))


def test_findings_are_numbered_as_the_classes_name_them_and_the_unnamed_are_absent() -> None:
    own = cohort(
        findings={
            "normal": {},
            "nodule": {"present": ("nodule",), "either": ("effusion",)},
            "both": {"present": ("effusion", "nodule")},
        }
    )
    assert finding_names(own) == ("nodule", "effusion")
    assert target_table(own) == ((0.0, 0.0), (1.0, 0.5), (1.0, 1.0))


def test_a_spec_read_back_from_a_manifest_is_the_same() -> None:
    assert Spec(16, 1, 0, [[1.0, 0.5]]) == Spec(16, 1, 0, ((1.0, 0.5),))  # type: ignore[arg-type]
