"""SynthEval's distance, identifiability and membership metrics. Run in its own environment: IN.npz OUT.json."""

import pandas as pd
from asked import answer
from syntheval.metrics.privacy.metric_distance_closest_record import MedianDistanceToClosestRecord
from syntheval.metrics.privacy.metric_epsilon_identifiability import EpsilonIdentifiability
from syntheval.metrics.privacy.metric_hitting_rate import HittingRate
from syntheval.metrics.privacy.metric_MIA_classification import MIAClassifier


def judged(train, holdout, synthetic):
    columns = [f"p{i}" for i in range(train.shape[1])]
    ours, held, made = (pd.DataFrame(x, columns=columns) for x in (train, holdout, synthetic))

    def asked(metric, **options):
        made_of = {"cat_cols": [], "num_cols": columns, "nn_dist": "euclid", "do_preprocessing": False}
        return metric(ours.copy(), made.copy(), held.copy(), **made_of).evaluate(**options)

    identified = asked(EpsilonIdentifiability)
    return {
        "median DCR": asked(MedianDistanceToClosestRecord)["mDCR"],
        "hitting rate": asked(HittingRate)["hit rate"],
        "identifiability": identified["eps_risk"],
        "identifiability loss": identified["priv_loss"],
        "MIA precision": asked(MIAClassifier, num_eval_iter=2)["MIA precision"],
    }


if __name__ == "__main__":
    answer(judged)
