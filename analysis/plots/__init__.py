"""Pictures. The report's: rows → Altair → SVG (UI §4). A fit's own, for notebooks: fit → rows → an Altair chart.

Altair is imported here alone, and on the first picture. In the report colours are CSS variables (`var(--within)`), so one
drawing serves light, dark and print; every figure has a wide and, where it needs one, a narrow drawing under NAME and
NAME-narrow; sizes are exact, in CSS pixels. Everywhere blue is within a person, orange between persons, green fieldwork,
and nothing is coloured by a test.
"""

from analysis.plots.benchmark import benchmark_caterpillar, benchmark_funnel
from analysis.plots.components import components_chart
from analysis.plots.diagnostics import diagnostics_chart
from analysis.plots.effects import effects_chart
from analysis.plots.fieldwork import answered_level, compliance_picture, days_per_row, per_day
from analysis.plots.figures import all_figures, model_figures
from analysis.plots.mediation import mediation_chart
from analysis.plots.modes import modes_chart
from analysis.plots.numbers import common_scale
from analysis.plots.pseudobulk import pseudobulk_chart
from analysis.plots.sheet import Axis, Frame
from analysis.plots.signature import lens, signature

__all__ = [
    "Axis",
    "Frame",
    "all_figures",
    "answered_level",
    "benchmark_caterpillar",
    "benchmark_funnel",
    "common_scale",
    "compliance_picture",
    "components_chart",
    "days_per_row",
    "diagnostics_chart",
    "effects_chart",
    "lens",
    "mediation_chart",
    "model_figures",
    "modes_chart",
    "per_day",
    "pseudobulk_chart",
    "signature",
]
