"""Hypotheses: what could have produced measured times, each run on the model and weighed (`relocscope theories`)."""

from relocscope.hypotheses.observation import Observation, observation
from relocscope.hypotheses.ranking import ERROR, SCHEMA, Theories, Theory, theories, theories_of

__all__ = ["ERROR", "SCHEMA", "Observation", "Theories", "Theory", "observation", "theories", "theories_of"]
