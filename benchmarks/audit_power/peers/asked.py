"""What every peer's script shares: sets in, statistics out. Imports nothing of synthrelease, which is not installed there."""

import json
import os
import sys
import time
import warnings

import numpy as np


def answer(judged):
    """Ask ``judged(train, holdout, synthetic)`` for each set ``syn_NAME`` of the first argument; write the second."""
    warnings.filterwarnings("ignore")
    given, answers = np.load(sys.argv[1]), {}
    for key in given.files:
        if not key.startswith("syn_"):
            continue
        began = time.process_time()
        try:
            found = {name: float(value) for name, value in judged(given["train"], given["holdout"], given[key]).items()}
        except Exception as error:
            found = {}
            print(f"{key}: {type(error).__name__}: {error}", file=sys.stderr)
        answers[key[4:]] = {"found": found, "seconds": time.process_time() - began}
        # A peer that is stopped for taking too long leaves what it has.
        with open(sys.argv[2] + ".part", "w", encoding="utf-8") as stream:
            json.dump(answers, stream)
        os.replace(sys.argv[2] + ".part", sys.argv[2])
