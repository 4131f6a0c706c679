"""The timing model: a Trace and a machine's description go in, an Outcome comes out."""
