"""The differential-privacy statement of a run: one set of facts, told as text, as JSON and as a deployments-registry record.

Every figure comes from training.json and the cohort's ledger and is recomputed from the mechanisms before it is told; a
record that disagrees with its own mechanisms is refused. Reading, checking and facts are kept apart from the words, and
the words from the three forms.
"""
