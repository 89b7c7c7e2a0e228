"""Landmark geometry: do lungs, heart and windpipe lie to each other as in real chests, in units of real against real?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthrelease.audit.case import AuditCase
from synthrelease.audit.fidelity import Roles, drawn
from synthrelease.audit.intervals import percentiles
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.features.distances import frechet
from synthrelease.features.embedding import Reduction
from synthrelease.features.uld.finder import LANDMARKS, public_finder
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

Array = npt.NDArray[np.float64]

NAME = "Fréchet distance of landmark geometry to the holdout, relative to holdout against itself"
LOOKED_AT = 500
"""Images of a role."""

SMALLEST_SIDE = 32
PLACED, MOST = 0.10, 0.75
"""Share of the side within which a landmark must lie of its place in the body, and of held-out images in which it must."""

FEWEST = 5
"""Landmarks without which there is no geometry to speak of."""

WIDEST = 2.0
"""Robust deviations at which a number is cut off: a point that was found in the wrong place is wrong, not infinitely so."""

COMPONENTS = 8
"""Principal components that are compared; more of them are noise of the finder."""

RARE = 0.05


class LandmarkGeometry:
    """FD of displacements (holdout A, synthetic) / FD (holdout A, holdout B) at equal numbers; 1 = as real from real."""

    id = "landmark_geometry"
    question = "Do the parts of the body lie to each other as in real images?"
    criterion = Criterion.FIDELITY
    needs_sound_split = False
    explanation = Explanation(
        how="Nine points of the chest are found in every image by an encoder and examples of simulated patients alone. They are "
        "laid over one body by shift, turn and zoom; how they lie off it is compared with held-out patients, and so are two halves "
        "of these.",
        good="Close to 1, like the ratio of the training images beside it, and about one image in twenty with a geometry that one "
        "real image in twenty has.",
        weakness="Knows upright frontal chest radiographs: points that do not make a body in three quarters of the held-out images "
        "are left out, and with fewer than five nothing is claimed. Grey values, texture and findings hardly move it.",
        source="One-shot landmarks after Chen et al., TPAMI 2023; the rest is of the house.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Median and spread of the ratio over random halves of the holdout."""
        missing = holdout_missing(case)
        if missing or case.holdout is None:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        if min(case.synthetic.images.shape[-2:]) < SMALLEST_SIDE:
            reason = f"the images have fewer than {SMALLEST_SIDE} pixels on a side"
            return unable(NAME, Direction.LOWER, reason, n=case.counts)
        finder = public_finder()
        roles = {"holdout": case.holdout, "train": case.train, "synthetic": case.synthetic}
        looked_at = {name: drawn(images, LOOKED_AT) for name, images in roles.items()}
        found = {name: finder(images.images) for name, images in looked_at.items()}
        kept = (found["holdout"].misplaced <= PLACED).mean(axis=0) >= MOST
        if kept.sum() < FEWEST:
            return unable(
                NAME,
                Direction.LOWER,
                f"{int(kept.sum())} of {len(kept)} landmarks are found consistently in the held-out images, at least {FEWEST} are "
                "needed: the finder knows upright frontal chest radiographs, and these are others or too blurred",
                n=case.counts,
            )
        features = _features(
            {name: each.displaced[:, kept] for name, each in found.items()}, looked_at["holdout"].patient
        )
        ratio, ceiling = [], []
        for half in features.halves(rng):
            unit = max(frechet(half.first, half.second), 1e-9)
            ratio.append(frechet(half.first, half.synthetic) / unit)
            ceiling.append(frechet(half.first, half.train) / unit)
        value, interval = float(np.median(ratio)), percentiles(np.array(ratio))
        odd = _odd_shares(features)
        return Measurement(
            Statistic(NAME, value, interval.low, interval.high, 0.95, Direction.LOWER),
            Baseline(holdout=float(np.median(ceiling))),
            Power((interval.high - interval.low) / 2, "ratio, half width of the interval"),
            case.counts,
            note=f"{value:.1f} times the distance between two halves of the holdout; {odd['synthetic']:.0%} of the images have a "
            f"geometry that {RARE:.0%} of held-out ones have",
            details={
                "extractor": f"{finder.name}; PCA-{features.holdout.shape[1]} fitted on holdout",
                "landmarks": [name for name, good in zip(LANDMARKS, kept, strict=True) if good],
                "share_of_odd_geometry": odd,
                "share_in_place": {name: float((f.misplaced[:, kept] <= PLACED).mean()) for name, f in found.items()},
            },
        )


def _features(displaced: dict[str, Array], holdout_patient: npt.NDArray[np.int64]) -> Roles:
    """Displacements of the roles in whitened components, all by what the holdout is like."""
    numbers = {name: each.reshape(len(each), -1) for name, each in displaced.items()}
    middle = np.median(numbers["holdout"], axis=0)
    spread = np.maximum(np.median(np.abs(numbers["holdout"] - middle), axis=0) * 1.4826, 1e-6)
    cut = {name: np.clip((each - middle) / spread, -WIDEST, WIDEST) for name, each in numbers.items()}
    reduce = Reduction.fit(cut["holdout"])
    seen = {name: reduce(each)[:, :COMPONENTS] for name, each in cut.items()}
    return Roles(seen["holdout"], seen["train"], seen["synthetic"], holdout_patient)


def _odd_shares(features: Roles) -> dict[str, float]:
    """Share of images farther from the holdout's middle than all but 5 % of held-out ones."""
    middle = features.holdout.mean(axis=0)
    far = {name: np.linalg.norm(getattr(features, name) - middle, axis=1) for name in ("holdout", "train", "synthetic")}
    limit = np.quantile(far["holdout"], 1.0 - RARE)
    return {name: float((far[name] > limit).mean()) for name in ("train", "synthetic")}
