"""Multilevel models for people in time: within- and between-person parts, fitted exactly and fast.

>>> import analysis
>>> fit = analysis.lmm("stress ~ within(support) + between(support) + (1 + within(support) | person)", frame)
>>> print(fit.summary())
"""

from analysis.benchmarking import Benchmark, benchmark
from analysis.centering import within_between
from analysis.collected import ModelState, collect
from analysis.components import VarianceComponents, variance_components
from analysis.errors import AnalysisError, DesignError, SpecError
from analysis.generalised_model import GeneralisedModel
from analysis.linear_model import LinearModel
from analysis.mediation import Mediation, mediate
from analysis.model import MultilevelModel
from analysis.models import clmm, glmm, lmm
from analysis.ordinal_model import OrdinalModel
from analysis.pseudobulk import Pseudobulk, pseudobulk
from analysis.scale_reliability import ScaleReliability, scale_reliability
from analysis.serial import AR1, CAR1

__all__ = [
    "AR1",
    "CAR1",
    "AnalysisError",
    "Benchmark",
    "DesignError",
    "GeneralisedModel",
    "LinearModel",
    "Mediation",
    "ModelState",
    "MultilevelModel",
    "OrdinalModel",
    "Pseudobulk",
    "ScaleReliability",
    "SpecError",
    "VarianceComponents",
    "benchmark",
    "clmm",
    "collect",
    "glmm",
    "lmm",
    "mediate",
    "pseudobulk",
    "scale_reliability",
    "variance_components",
    "within_between",
]
