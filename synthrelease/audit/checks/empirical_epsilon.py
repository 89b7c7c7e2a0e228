"""Does what the attacks found contradict the epsilon that training claims?"""

from __future__ import annotations

import numpy as np

from synthrelease.audit.attacks import attack_scores
from synthrelease.audit.case import AuditCase
from synthrelease.audit.epsilon import audited_epsilon, ceilings
from synthrelease.audit.measurement import Explanation, Measurement, holdout_missing, unable
from synthrelease.audit.membership_rows import model_scores
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "proven epsilon as a share of the claimed one"
NO_CLAIM = "no differential privacy is claimed, so there is no claim to contradict"
RELEASE_SCORES = ("calibrated_template", "density_ratio")
LEVEL = 0.05


class EmpiricalEpsilon:
    """A lower bound on the patient-level epsilon, held against the claim. It can refute a claim and never prove one."""

    id = "empirical_epsilon"
    question = "Do the membership attacks contradict the privacy guarantee that training claims?"
    criterion = Criterion.MEMBERSHIP
    needs_sound_split = True
    explanation = Explanation(
        how="Who was trained on was drawn by lot, so each patient is a coin. The attacks guess coins; a mechanism that "
        "keeps its claim allows only so many right guesses. The smallest epsilon that explains them is the bound.",
        good="The bound lies below the claim. That contradicts nothing; it proves nothing either.",
        weakness="Weak by nature: 100 patients of each kind can show an epsilon of about 3.5 at most however bad the leak, "
        "1000 about 6 (3.3 and 5.6 by the usual two-sided bound), so a large claim can hardly be refuted. The audit of "
        "the mechanism with canaries is far sharper. These numbers are made of real images and are outside the "
        "guarantee.",
        source="Steinke, Nasr, Jagielski, NeurIPS 2023 (one run); Nasr et al., USENIX Security 2023 (Gaussian); "
        "Jagielski et al., NeurIPS 2020 (two-sided, Clopper-Pearson)",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Guess coins by every score fixed beforehand; the smallest p-value pays for the number of tests."""
        epsilon, delta = case.claimed_epsilon, case.claimed_delta
        if epsilon is None or delta is None:
            return unable(NAME, Direction.LOWER, NO_CLAIM, not_applicable=True, n=case.counts)
        missing = holdout_missing(case)
        if missing:
            return unable(NAME, Direction.LOWER, missing, n=case.counts)
        attacks = attack_scores(case)
        scores = {name: attacks[name] for name in RELEASE_SCORES} | model_scores(case)
        bounds = {
            name: audited_epsilon(*scores[name], epsilon, delta, LEVEL / len(scores), rng) for name in sorted(scores)
        }
        best = max(bounds, key=lambda name: bounds[name].one_run)
        proven = bounds[best].one_run
        p = min(1.0, len(bounds) * min(bound.p_of_claim for bound in bounds.values()))
        smaller = min(len(side) for side in scores[best])
        most = ceilings(smaller, delta, LEVEL / len(scores))
        share = proven / epsilon if epsilon > 0 else float(proven > 0)
        reach = (
            ""
            if most["one_run"] > epsilon
            else f"; with {smaller} patients of each kind no attack could contradict the claim"
        )
        return Measurement(
            Statistic(NAME, share, share, share, 0.95, Direction.LOWER),
            Baseline(random=0.0),
            Power(most["one_run"], "largest epsilon that a perfect attack could prove with so many patients"),
            case.counts,
            p_value=p,
            note=f"the attacks prove an epsilon of {proven:.2f}, claimed are {epsilon:.3g}; this proves no guarantee{reach}",
            details={
                "claimed_epsilon": epsilon,
                "claimed_delta": delta,
                "largest_provable_epsilon": most,
                "bounds": {name: bound.to_json() for name, bound in bounds.items()},
            },
        )
