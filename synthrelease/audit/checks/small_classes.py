"""Kinds of patients so rare that to show the kind is to point at somebody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.measurement import Explanation, Measurement
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "classes in the archive that fewer than 10 training patients have"
SMALLEST_CELL = 10
"""Fewest people that a published cell stands for: the usual threshold of statistical disclosure control."""

COINCIDENCE = 0.001
Counts = npt.NDArray[np.int64]


class SmallClasses:
    """Counts cells, never people: audit.json holds bands only."""

    id = "small_classes"
    question = "Does the archive show kinds of patients that only a few training patients are of?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = False
    explanation = Explanation(
        how="Training patients are counted by class, and by class and sex, age band or scanner where these are known. "
        "It is also asked whether the archive's shares of the classes repeat those of the training set image by image.",
        good="Every class that the archive shows has at least ten training patients, and the shares of the classes "
        "come from the policy or from noised counts.",
        weakness="A rule about counts, not about likeness: an archive can show a rare class without copying anybody, "
        "and rare traits that no label names are not counted.",
        source="Minimum cell sizes of statistical disclosure control (10 in many registries; EMA policy 0070 has a "
        "risk of 0.09, one in 11); k-map: Sweeney 2002; recital on rare diseases, Regulation (EU) 2025/327",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Count small cells; look whether the class shares were taken from the training set."""
        classes = len(case.classes)
        trained = patients_of_class(case.train, classes)
        shown = np.bincount(case.synthetic.labels, minlength=classes)[:classes] > 0
        small = int(np.sum(shown & (trained < SMALLEST_CELL)))
        cells = {name: small_cells(case, name) for name in sorted(case.train.attributes)}
        policy = case.expectation is not None
        repeats = not policy and repeats_shares(case.train.labels, case.synthetic.labels, classes)
        note = f"{small} of {int(shown.sum())} classes shown have fewer than {SMALLEST_CELL} training patients"
        if repeats:
            note += "; the shares of the classes repeat those of the training images: counts were carried over unnoised"
        return Measurement(
            Statistic(NAME, float(small), float(small), float(small), 1.0, Direction.LOWER),
            Baseline(),
            Power(),
            case.counts,
            note=note,
            details={
                "single_patient_classes": band(int(np.sum(shown & (trained == 1)))),
                "small_cells_with": {name: band(count) for name, count in cells.items()},
                "shares_of_classes": "as the policy has them drawn"
                if policy
                else ("as in training" if repeats else "their own"),
            },
        )


def patients_of_class(images: ImageSet, classes: int) -> Counts:
    """(C,) different patients with an image of each class."""
    pairs = np.unique(np.column_stack([images.patient, images.labels]), axis=0)
    return np.bincount(pairs[:, 1], minlength=classes)[:classes]


def small_cells(case: AuditCase, attribute: str) -> int:
    """Cells of class and attribute value with one to nine training patients, of classes that the archive shows."""
    values = case.train.attributes[attribute]
    shown = np.isin(case.train.labels, np.unique(case.synthetic.labels))
    cells = {
        (int(label), str(value), int(who))
        for label, value, who in zip(case.train.labels[shown], values[shown], case.train.patient[shown], strict=True)
        if value
    }
    counts: dict[tuple[int, str], int] = {}
    for label, value, _ in cells:
        counts[label, value] = counts.get((label, value), 0) + 1
    return sum(count < SMALLEST_CELL for count in counts.values())


def repeats_shares(train: Counts, synthetic: Counts, classes: int) -> bool:
    """Whether the archive has the training set's shares to the last image, though its size is another or the same.

    The expected counts are rounded to whole images; a draw by chance meets all of them with a probability that the
    multinomial gives. Only a coincidence below one in a thousand is told.
    """
    expected = np.bincount(train, minlength=classes)[:classes] / len(train) * len(synthetic)
    got = np.bincount(synthetic, minlength=classes)[:classes]
    if np.abs(got - expected).max() >= 1.0 or (expected > 0).sum() < 2:
        return False
    # Chance of one cell being met to the image is about 2 / sqrt(2 pi n p (1 - p)); cells but one are free.
    share = expected / len(synthetic)
    wide = np.sqrt(2.0 * np.pi * np.maximum(len(synthetic) * share * (1.0 - share), 1e-9))
    chance = np.sort(np.minimum(1.0, 2.0 / wide[expected > 0]))[:-1]
    return bool(np.prod(chance) < COINCIDENCE)


def band(count: int) -> str:
    """A private count as audit.json may hold it.

    >>> [band(n) for n in (0, 3, 10, 47)]
    ['none', 'fewer than 10', '10 or more', '10 or more']
    """
    if count == 0:
        return "none"
    return f"fewer than {SMALLEST_CELL}" if count < SMALLEST_CELL else f"{SMALLEST_CELL} or more"
