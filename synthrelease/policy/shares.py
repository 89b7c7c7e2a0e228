"""How many patients and images of each class a policy asks for: arithmetic on public values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synthrelease.policy.schema import Policy


def patients_by_class(classes: Sequence[str], shares: Mapping[str, float] | None, patients: int) -> list[int]:
    """Synthetic patients of each class: exact shares, the largest remainders rounded up.

    Args:
        classes: Class names in order.
        shares: Share of each class, summing to 1; classes left out get none. None: equal shares.
        patients: To be shared out.

    >>> patients_by_class(("a", "b", "c"), None, 10)
    [4, 3, 3]
    """
    wanted = [(1 / len(classes) if shares is None else shares.get(name, 0.0)) * patients for name in classes]
    counts = [math.floor(each) for each in wanted]
    # A share of 1/3 of 10 leaves one patient over: the largest remainders get one more each.
    by_remainder = sorted(range(len(classes)), key=lambda index: counts[index] - wanted[index])
    for index in by_remainder[: patients - sum(counts)]:
        counts[index] += 1
    return counts


def images_by_class(policy: Policy) -> list[int] | None:
    """Images of each class in the policy's archive, at most: the last patient may have fewer.

    Returns:
        Counts in the order of the classes; None where they follow from class counts that are yet to be released.
    """
    wanted = policy.archive
    if isinstance(wanted.class_shares, str):
        return None
    patients = -(-wanted.images // wanted.images_per_patient)
    of_patients = patients_by_class(policy.cohort.classes, wanted.class_shares, patients)
    return [min(wanted.images, each * wanted.images_per_patient) for each in of_patients]
