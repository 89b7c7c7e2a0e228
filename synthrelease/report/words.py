"""The sentences of the report. None of them calls an archive safe or anonymous: people decide that."""

from __future__ import annotations

from dataclasses import dataclass

from synthrelease.records.findings import Criterion, Verdict


@dataclass(frozen=True)
class Word:
    """A verdict for a reader: a word, a sign that does not depend on colour, and the style of its badge."""

    text: str
    sign: str
    style: str


VERDICTS = {
    Verdict.PASS: Word("Pass", "✓", "pass"),
    Verdict.FAIL: Word("Fail", "✕", "fail"),
    Verdict.INCONCLUSIVE: Word("Inconclusive", "?", "open"),
}
NOT_ASSESSED = Word("Not assessed", "–", "none")

DECISIONS = {
    Verdict.PASS: (
        "No objection found",
        "Every required privacy check passed. Fitness for purpose is judged apart, and whether to release is for people to decide.",
    ),
    Verdict.FAIL: ("Do not release", "At least one required check found a reason not to release this archive."),
    Verdict.INCONCLUSIVE: (
        "Needs review",
        "At least one required check could not decide. Too little evidence is neither good nor bad; it does not clear a release.",
    ),
}

CRITERIA = {
    Criterion.SINGLING_OUT: ("Singled out?", "Can one person's image be found in, or rebuilt from, the archive?"),
    Criterion.LINKABILITY: ("Linked?", "Can a synthetic record be tied to a real one, in the archive or elsewhere?"),
    Criterion.INFERENCE: (
        "Inferred?",
        "Does the archive reveal something about a person that a stranger could not guess?",
    ),
    Criterion.MEMBERSHIP: ("Was I in it?", "Can somebody tell whether a person's images trained the generator?"),
}
NO_CHECK = "No check of this run answers this question. It was not looked at; that says nothing either way."
NO_CONFORMANCE = "No check of this run looked at the DICOM objects."

NOT_COVERED = (
    "It judges one archive, under one policy, for the recipients named. Another release of the same cohort needs its own.",
    "A likeness to a real image can stop a release. The absence of one never clears it.",
    "Small and rare groups are judged with less evidence than large ones.",
    "Identity of those who sign is asserted by name, not proven.",
    "Taking flagged images out and shipping the rest makes another archive, chosen by looking at patients: every claim "
    "made here is void for it.",
)

NOT_PROTECTED = (
    "facts about the site or the population as a whole",
    "relatives, and patients registered under two identities",
    "the settings of the policy: classes, windows, sizes, class shares that stand in it",
    "this report's own outcomes: they are computed on real patients, lie outside of the guarantee, and are told coarsely",
    "anything that was known of a patient before the release",
)

INTERNAL_BANNER = "INTERNAL: shows real patients. Personal data. Do not copy, send or publish."

GLOSSARY = (
    (
        "Advantage",
        "How much more often a membership attack is right about members than wrong about others; 0 is blind guessing.",
    ),
    ("Baseline", "The same number measured where nothing can have leaked: on held-out patients, or by chance."),
    ("Delta (δ)", "The chance with which the bound of epsilon need not hold."),
    (
        "Epsilon (ε)",
        "The bound on how much one patient can change the odds of any outcome. Small is strong; above about 4 the bound "
        "alone promises little.",
    ),
    ("False positive rate (FPR)", "Share of people outside the cohort whom an attack wrongly accuses of being in it."),
    ("Holdout", "Patients of the same cohort whom the generator never saw. They show what ordinary likeness is."),
    (
        "Interval",
        "The range in which the true number lies with the stated confidence. The bad end is compared with the threshold.",
    ),
    ("Mu (μ)", "The same bound as one number of Gaussian differential privacy; comparable across different deltas."),
    ("Power", "What a check could have seen: known leaks are planted in a copy of the archive and counted when found."),
    ("True positive rate (TPR)", "Share of people in the cohort whom an attack rightly names."),
)
