"""SDMetrics' DCROverfittingProtection. Run by the interpreter of its own environment: IN.npz OUT.json."""

import pandas as pd
from asked import answer
from sdmetrics.single_table import DCROverfittingProtection


def judged(train, holdout, synthetic):
    columns = [f"p{i}" for i in range(train.shape[1])]
    metadata = {"columns": {name: {"sdtype": "numerical"} for name in columns}}
    ours, held, made = (pd.DataFrame(x, columns=columns) for x in (train, holdout, synthetic))
    found = DCROverfittingProtection.compute_breakdown(ours, made, held, metadata, None)
    return {"overfitting protection": found["score"]}


if __name__ == "__main__":
    answer(judged)
