"""Records, files and pure folds: what the guest did (Trace) and what it cost (Outcome)."""
