"""What the claim covers and what it does not: the same sentences in the training record, the statement and the pack."""

from __future__ import annotations

ADJACENCY = "add or remove one patient with all images, masks, labels and header fields"

COVERED = (
    "the noisy results of all mechanisms listed here",
    "every training step and every checkpoint",
    "every image, mask, label and header field that is computed from them",
    "training.json and archive.json",
)
NOT_COVERED = (
    "the audit and its report: figures, rounded patient counts, and that the archive passed, all computed on real patients",
    "that this run was chosen among several, where somebody chose by an audit or by looking at real patients",
    "that the cohort could be read: at least 20 patients, every class present",
    "that an image which two patients claim is left out for both",
    "the settings of the policy (classes, windows, sizes, class shares, expected patients), which are public by policy",
    "facts about the site or the population as a whole",
    "relatives, and one person who is registered under two identities",
    "anything that was known of a patient before the release",
)

NOISE = (
    "a cryptographic stream under keys from the operating system; neither key nor noise is kept, and there is no seed"
)
FLOATING_POINT = (
    "double precision, noisy sums rounded to a grid after the noise is added; mitigated, not formally verified"
)
SAMPLING = (
    "independent coin flip for each patient in each step (Poisson), as the accounting assumes; no batch is truncated"
)
TRUST = "central: the hospital holds the real images and is trusted with them; recipients get outputs only"
TUNING = (
    "the tool tuned nothing on this cohort: every setting stood in the policy before an image was read and was fixed during "
    "the run. Other runs on the cohort by this tool, for instance to compare settings, are in the figure for all runs. "
    "What anybody chose outside of the tool after looking at the cohort is known to the operator alone and not covered"
)

AGREEMENT = 0.02
"""Most that the figures of two accountants may differ by."""
