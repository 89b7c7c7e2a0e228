"""The phantom cohort: a public, seeded simulator of frontal chest radiographs with exact truth.

Nothing in it comes from a person, so tests, the demo and the audit's known answers can show every pixel. Patients
differ in anatomy and texture; one patient's images differ in pose, breath and exposure only.

>>> patient = simulate_patient(seed=0, index=4, size=32)
>>> patient.patient_id, patient.images[0].pixels.shape
('PAT00004', (32, 32))
"""

from __future__ import annotations

from synthrelease.cohort.phantom.findings import BOTH, FINDINGS
from synthrelease.cohort.phantom.patients import PhantomImage, PhantomPatient, simulate_patient
from synthrelease.cohort.phantom.render import SEGMENTS
from synthrelease.cohort.phantom.writer import write_phantom_cohort

__all__ = [
    "BOTH",
    "FINDINGS",
    "SEGMENTS",
    "PhantomImage",
    "PhantomPatient",
    "simulate_patient",
    "write_phantom_cohort",
]
