"""The long proofs behind `make prove`; each appends a line to docs/proofs.jsonl, and the tests repeat them in short."""
