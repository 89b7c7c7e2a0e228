"""The same picture under two patients, found before anything is compared: real images against real images.

A picture that stands on both sides of the split makes a stranger of a training patient: the control would excuse what
it should show. Pictures come twice into archives by re-export, with the grey changed, compressed again, a pixel moved.

1. Retrieval: the nearest images of *other* patients by the band-passed descriptor, over turns, mirroring and shifts.
2. Verification at up to 64 px: correlation of the fine band after the best shift. Anatomy is alike between people,
   fine texture is not.
3. A pair is a duplicate when the correlation is at least 0.9 *and* beyond what strangers of this very archive reach by
   a conservative exponential tail (corrected for the number of images), or when the pictures are equal.

Patients who share a picture are one patient for the audit. Those who then stand on both sides leave the holdout.

Source: Barz and Denzler, "Do we train on test data? Purging CIFAR of near-duplicates", J. Imaging 2020, for the need;
the tail is that of the copy test, censored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, stats
from scipy.ndimage import gaussian_filter

from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import BoolArray, FloatArray, IntArray
from synthrelease.features.descriptors import at_audit_resolution, cosine_basis, fisher_z, orientations, unit_length

VERIFIED_AT = 64
"""Pixels on a side at which pairs are verified; fine texture is lost below."""

LEAST = 0.9
"""Correlation of the fine band that a duplicate has at least. Of 5,843 paediatric radiographs, the best of 4,091 other
patients reaches 0.77 in all but one of a thousand images; re-compression to JPEG quality 30 keeps 0.90."""

RETRIEVED = 0.88
"""Descriptor correlation below which a pair is not verified: what shifts of one pixel and re-compression keep."""

CANDIDATES = 3
PROMISING = 0.7
"""Correlation of wrapped pictures below which shifts are not searched window by window; duplicates moved by a
sixteenth of the side keep three quarters of their overlap, and so more than this."""

BODY = 400
"""Images whose best stranger is verified, to know what strangers reach."""

ERROR = 0.01
"""Chance that any two strangers of an archive are taken for one."""

BLOCK = 2048


@dataclass(frozen=True)
class Duplicates:
    """What was found and set aside, as counts.

    Attributes:
        pairs: Pairs of images of different patients that show one picture.
        clusters: Groups of patients who share a picture.
        train_patients: Training patients merged into another one, their holdout partners not counted.
        holdout_patients: Holdout patients there were.
        set_aside: Of them left the holdout, since a picture of theirs was trained on.
        shared_patients: Patients who stood on both sides by their own number.
        least_correlation: From which on a pair counted.
    """

    pairs: int
    clusters: int
    train_patients: int
    holdout_patients: int
    set_aside: int
    shared_patients: int
    least_correlation: float

    @property
    def share_set_aside(self) -> float:
        """Share of the holdout that was lost, in [0, 1]."""
        return self.set_aside / max(1, self.holdout_patients)


def duplicate_pairs(images: FloatArray, patient: IntArray, digests: tuple[str, ...] = ()) -> tuple[IntArray, float]:
    """Pairs of images of different patients that show one picture.

    Args:
        images: (N, 1, H, W) float32 in [-1, 1].
        patient: (N,) same number = same patient.
        digests: Of the stored pixels, or none.

    Returns:
        (pairs, 2) rows, each pair once, and the correlation from which on a pair counted.
    """
    detailed = images.std(axis=(1, 2, 3)) > 1e-3  # a blank picture is nobody's
    small = at_audit_resolution(images)
    candidates = np.concatenate([_retrieved(small, patient, detailed), _equal(digests, patient, detailed)])
    candidates = np.unique(np.sort(candidates[:, :2].astype(np.int64), axis=1), axis=0)
    fine = at_audit_resolution(images, VERIFIED_AT)
    rng = np.random.default_rng(20260104)
    sample = rng.permutation(np.flatnonzero(detailed))[:BODY]
    body = _stranger_body(small, fine, patient, sample)
    least = max(LEAST, _beyond_strangers(body, len(images)))
    if not len(candidates):
        return np.zeros((0, 2), dtype=np.int64), least
    correlation, equal = _fine_correlation(fine, candidates)
    return candidates[(correlation >= least) | equal], least


def set_aside_duplicates(case: AuditCase) -> AuditCase:
    """The case with patients who share a picture made one, and strangers who are none taken out of the holdout.

    A case that went through this before comes back as it is.
    """
    if case.duplicates is not None:
        return case
    train, holdout = case.train, case.holdout
    held = holdout.patient if holdout is not None else np.zeros(0, dtype=np.int64)
    images = train.images if holdout is None else np.concatenate([train.images, holdout.images])
    patient = np.concatenate([train.patient, held])
    complete = train.digests and (holdout is None or holdout.digests)
    digests = train.digests + (holdout.digests if holdout is not None else ()) if complete else ()
    pairs, least = duplicate_pairs(images, patient, digests)
    one = _clusters(patient, pairs)
    ours, theirs = one[: len(train)], one[len(train) :]
    crossing = np.isin(theirs, ours)
    found = Duplicates(
        pairs=len(pairs),
        clusters=len(np.unique(one[pairs[:, 0]])) if len(pairs) else 0,
        train_patients=train.patient_count - len(np.unique(ours)),
        holdout_patients=len(np.unique(held)),
        set_aside=len(np.unique(held[crossing])),
        shared_patients=len(np.intersect1d(train.patient, held)),
        least_correlation=least,
    )
    kept = None if holdout is None else replace(holdout, patient=theirs).take(~crossing)
    return replace(case, train=replace(train, patient=ours), holdout=kept, duplicates=found)


def _clusters(patient: IntArray, pairs: IntArray) -> IntArray:
    """(N,) the smallest patient number that each image's patient is tied to by shared pictures."""
    numbers, index = np.unique(patient, return_inverse=True)
    root = np.arange(len(numbers))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = int(root[i])
        return i

    for first, second in index[pairs]:
        a, b = find(int(first)), find(int(second))
        root[max(a, b)] = min(a, b)
    return np.asarray(numbers[[find(i) for i in range(len(numbers))]][index], dtype=np.int64)


def _versions(small: FloatArray) -> Iterator[FloatArray]:
    """The eight turned and mirrored versions, then the picture moved by one pixel in each direction."""
    yield from orientations(small)
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1)), mode="edge")
    side = small.shape[-1]
    for down in range(3):
        for right in range(3):
            if (down, right) != (1, 1):
                yield padded[:, down : down + side, right : right + side]


def _described(small: FloatArray) -> FloatArray:
    return unit_length(small.reshape(len(small), -1) @ cosine_basis(small.shape[-1]))


def _retrieved(small: FloatArray, patient: IntArray, detailed: BoolArray) -> IntArray:
    """(n, 2) pairs of different patients worth verifying: up to three partners an image."""
    gallery = _described(small)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start in range(0, len(small), BLOCK):
        rows = slice(start, start + BLOCK)
        table = np.zeros((len(small[rows]), len(small)), dtype=np.float32)
        for version in _versions(small[rows]):
            # Inverted grey is a re-export too, hence the absolute value.
            np.maximum(table, np.abs(_described(version) @ gallery.T), out=table)
        table[(patient[rows, None] == patient[None, :]) | ~detailed[None, :] | ~detailed[rows, None]] = 0.0
        many = min(CANDIDATES, table.shape[1])
        partner = np.argpartition(-table, many - 1, axis=1)[:, :many]
        value = np.take_along_axis(table, partner, axis=1)
        row, column = np.nonzero(value >= RETRIEVED)
        found.append(np.column_stack([row + start, partner[row, column]]).astype(np.int64))
    return np.concatenate(found)


def _equal(digests: tuple[str, ...], patient: IntArray, detailed: BoolArray) -> IntArray:
    """(n, 2) images of different patients whose stored pixels have one digest."""
    first: dict[str, int] = {}
    pairs = [
        (first.setdefault(digest, row), row) for row, digest in enumerate(digests) if digest and bool(detailed[row])
    ]
    return np.array([p for p in pairs if patient[p[0]] != patient[p[1]]], dtype=np.int64).reshape(-1, 2)


def _stranger_body(small: FloatArray, fine: FloatArray, patient: IntArray, sample: IntArray) -> npt.NDArray[np.float64]:
    """(n,) Fisher z of the fine correlation of sampled images with the image of another patient most like them."""
    table = np.abs(_described(small[sample]) @ _described(small).T)
    table[patient[sample, None] == patient[None, :]] = -1.0
    nearest = np.column_stack([sample, table.argmax(axis=1)]).astype(np.int64)
    known = table.max(axis=1) >= 0.0
    correlation, _ = _fine_correlation(fine, nearest[known])
    return fisher_z(correlation)


def _beyond_strangers(body: npt.NDArray[np.float64], images: int) -> float:
    """Correlation that no pair of strangers reaches, but for a chance of 1 %; 0 where too few were seen to say.

    Exponential tail above the median, censored at the 90th percentile, so that duplicates among the sampled images
    cannot stretch it; its scale at the upper 95 % bound.
    """
    if len(body) < 25:
        return 0.0
    start, last = np.quantile(body, [0.5, 0.9])
    above = body[body > start]
    seen = int((above <= last).sum())
    total = float(np.minimum(above, last).sum() - start * len(above))
    scale = 2.0 * total / float(stats.chi2.ppf(0.05, 2 * max(1, seen)))
    return float(np.tanh(start + scale * np.log(0.5 * images / ERROR)))


def _fine_correlation(fine: FloatArray, pairs: IntArray) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Best correlation of the fine band over small shifts: (n,), and whether the pixels agree as they are.

    The first picture is turned the way that its coarse look suggests. The correlation of whole pictures, borders
    wrapped, is never far below that of valid windows: pairs that are far from duplicates by it are left at it.
    """
    side = fine.shape[-1]
    reach = max(1, side // 16)
    best = np.zeros(len(pairs))
    equal = np.zeros(len(pairs), dtype=np.bool_)
    rows, where = np.unique(pairs, return_inverse=True)
    where = where.reshape(pairs.shape)
    looks, bands = _described(fine[rows]), _fine_band(fine[rows])
    turned = np.stack([_described(version) for version in orientations(fine[rows])])
    for start in range(0, len(pairs), 256):
        part = slice(start, start + 256)
        one, two = where[part, 0], where[part, 1]
        turn = np.abs(np.einsum("ond,nd->on", turned[:, one], looks[two])).argmax(axis=0)
        each = np.arange(len(one))
        first = orientations(bands[one])[turn, each]
        equal[part] = np.abs(orientations(fine[rows[one]])[turn, each] - fine[rows[two]]).max(axis=(1, 2)) <= 1e-4
        best[part] = _wrapped_correlation(first, bands[two], reach)
        for i in np.flatnonzero(best[part] >= PROMISING):
            best[start + i] = _valid_correlation(first[i], bands[two[i]], reach)
    return best, equal


def _wrapped_correlation(first: FloatArray, second: FloatArray, reach: int) -> npt.NDArray[np.float64]:
    """(n,) largest absolute correlation over shifts up to ``reach``, by Fourier transforms."""
    a, b = (fft.rfft2(_unit(x)) for x in (first, second))
    surface = fft.irfft2(a * np.conj(b), s=first.shape[1:])
    near = np.r_[0 : reach + 1, -reach:0]
    return np.asarray(np.abs(surface[:, near][:, :, near]).max(axis=(1, 2)), dtype=np.float64)


def _valid_correlation(first: FloatArray, second: FloatArray, reach: int) -> float:
    """Largest absolute correlation of the second picture's middle with a window of the first."""
    side = len(first)
    middle = _unit(second[None, reach : side - reach, reach : side - reach])[0]
    views = np.lib.stride_tricks.sliding_window_view(first, middle.shape)
    flat = _unit(views.reshape(-1, *middle.shape))
    return float(np.abs(np.einsum("nyx,yx->n", flat, middle)).max())


def _fine_band(images: FloatArray) -> FloatArray:
    """Detail between about 0.7 and 2 pixels of 64: what a person's radiograph has and a body part's has not."""
    scale = images.shape[-1] / VERIFIED_AT
    low, high = (gaussian_filter(images, (0, s * scale, s * scale), mode="nearest") for s in (2.0, 0.7))
    return np.asarray(high - low, dtype=np.float32)


def _unit(windows: FloatArray) -> FloatArray:
    centred = windows - windows.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("nyx,nyx->n", centred, centred))
    return np.asarray(centred / np.maximum(length, 1e-9)[:, None, None], dtype=np.float32)
