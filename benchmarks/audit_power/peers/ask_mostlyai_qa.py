"""mostlyai-qa's distances. Run by the interpreter of its own environment: IN.npz OUT.json.

The tool takes as many synthetic records as training ones, so that a random part of the archive is shown to it.
"""

import numpy as np
from asked import answer
from mostlyai.qa._distances import calculate_dcr_share, calculate_distances, calculate_ims, calculate_nndr_ratio


def judged(train, holdout, synthetic):
    shown = synthetic[np.random.default_rng(0).permutation(len(synthetic))[: len(train)]]
    found = calculate_distances(syn_embeds=shown, trn_embeds=train, hol_embeds=holdout)
    return {
        "IMS": calculate_ims(found["dcr_syn_trn"]),
        "DCR share": calculate_dcr_share(found["dcr_syn_trn"], found["dcr_syn_hol"]),
        "NNDR ratio": calculate_nndr_ratio(found["nndr_syn_trn"], found["nndr_syn_hol"]),
    }


if __name__ == "__main__":
    answer(judged)
