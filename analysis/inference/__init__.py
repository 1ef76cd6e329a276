"""Standard errors, degrees of freedom, tests and intervals of fixed effects, from per-person moments."""

from analysis.inference.kenward_roger import KenwardRoger, kenward_roger
from analysis.inference.methods import default_method, persons_minus_between, uncertainty
from analysis.inference.robust import cr2
from analysis.inference.satterthwaite import satterthwaite, satterthwaite_new_group
from analysis.inference.tables import Estimates, critical_value, fixed_table, read_contrast

__all__ = [
    "Estimates",
    "KenwardRoger",
    "cr2",
    "critical_value",
    "default_method",
    "fixed_table",
    "kenward_roger",
    "persons_minus_between",
    "read_contrast",
    "satterthwaite",
    "satterthwaite_new_group",
    "uncertainty",
]
