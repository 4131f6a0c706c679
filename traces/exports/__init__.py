"""What other tools read, written from a run: one module a format, `registry.py` names them (docs/exports.md)."""
