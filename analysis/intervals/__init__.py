"""Intervals for every parameter of a model: Wald, profile likelihood, parametric bootstrap."""

from analysis.intervals.bootstrap import bootstrap_intervals
from analysis.intervals.parameters import Beside, Parameter, choose, parameters
from analysis.intervals.profile import profile_intervals
from analysis.intervals.wald import spread_intervals

__all__ = [
    "Beside",
    "Parameter",
    "bootstrap_intervals",
    "choose",
    "parameters",
    "profile_intervals",
    "spread_intervals",
]
