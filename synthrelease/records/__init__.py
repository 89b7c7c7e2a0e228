"""What the stages tell each other: canonical JSON, digests, atomic files, run folders and the ledger. No torch."""
