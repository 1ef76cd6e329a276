"""Multilevel models for people in time: within- and between-person parts, fitted exactly and fast.

>>> import analysis
>>> fit = analysis.lmm("stress ~ within(support) + between(support) + (1 + within(support) | person)", frame)
>>> print(fit.summary())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.centering import within_between
    from analysis.errors import AnalysisError, DesignError, SpecError
    from analysis.models import LinearModel, LogisticModel, MultilevelModel, glmm, lmm

__all__ = [
    "AnalysisError",
    "DesignError",
    "LinearModel",
    "LogisticModel",
    "MultilevelModel",
    "SpecError",
    "glmm",
    "lmm",
    "within_between",
]

_HOME = {"within_between": "centering", "AnalysisError": "errors", "DesignError": "errors", "SpecError": "errors"}


def __getattr__(name: str) -> Any:
    """Each public name loads its own part on first use: who only wants words or errors waits for no numba."""
    if name not in __all__:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(f"analysis.{_HOME.get(name, 'models')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
