"""The functional machine: bytes and a machine go in, a Trace comes out."""
