"""Anonymeter's linkability of the upper to the lower half of the image. Run in its own environment: IN.npz OUT.json."""

import pandas as pd
from anonymeter.evaluators import LinkabilityEvaluator
from asked import answer


def judged(train, holdout, synthetic):
    columns = [f"p{i}" for i in range(train.shape[1])]
    ours, held, made = (pd.DataFrame(x, columns=columns) for x in (train, holdout, synthetic))
    halves = (columns[: len(columns) // 2], columns[len(columns) // 2 :])
    asked = LinkabilityEvaluator(ours, made, aux_cols=halves, n_attacks=len(ours), control=held)
    asked.evaluate(n_jobs=1)
    risk = asked.risk()
    return {"linkability": risk.value, "linkability, lower end": risk.ci[0]}


if __name__ == "__main__":
    answer(judged)
