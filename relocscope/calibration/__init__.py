"""Calibration: a preset fitted to a person's own measurements (`relocscope calibrate`)."""

from relocscope.calibration.calibrate import SCHEMA, Calibration, calibrate_of

__all__ = ["SCHEMA", "Calibration", "calibrate_of"]
