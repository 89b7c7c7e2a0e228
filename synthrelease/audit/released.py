"""What an archive tells of a patient in words: its label and the attributes that both sides know."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet, TextArray
from synthrelease.audit.search import Patients

LABEL = "label"


def released_names(case: AuditCase) -> tuple[str, ...]:
    """The label, if there is more than one, and attributes that real and synthetic images state, by name.

    An attribute that says the same of every synthetic image tells nothing of anybody and is left out.
    """
    real = set(case.train.attributes) & set(case.holdout.attributes if case.holdout is not None else ())
    told = [
        name
        for name in sorted(real & set(case.synthetic.attributes))
        if len(set(case.synthetic.attributes[name].tolist()) - {""}) > 1
    ]
    return ((LABEL,) if len(np.unique(case.synthetic.labels)) > 1 else ()) + tuple(told)


def column(images: ImageSet, name: str) -> TextArray:
    """(N,) what is told of each image under a released name; "" = unknown."""
    return images.labels.astype(np.str_) if name == LABEL else images.attributes[name]


def both_sides(patients: Patients, name: str) -> TextArray:
    """(N,) the same for real images, training images first."""
    return np.concatenate([column(patients.train, name), column(patients.holdout, name)])
