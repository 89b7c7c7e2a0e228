"""Signing, sealing and verifying a release: records and files only, no deep-learning stack."""
