"""docs/convergence.md, from a line of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proofs import log

PAGE = log.ROOT / "docs" / "convergence.md"


def write(line: Mapping[str, Any]) -> None:
    PAGE.write_text(page(line))


def page(line: Mapping[str, Any]) -> str:
    figures = line["figures"]
    good, singular, interior = figures["well_posed"], figures["singular"], figures["interior"]
    optimum = figures["optimum"]
    of_lme4 = good["false_warnings_of_lme4"]
    kinds = ", ".join(f"{count} “{kind}”" for kind, count in singular["kinds"].items())
    rows = [
        ("well posed", good["designs"], "warned of", good["false_warnings"]),
        ("singular", singular["designs"], "not recognised", singular["missed"]),
        ("singular", singular["designs"], "not converged", singular["not_converged"]),
        ("nearly singular", interior["designs"], "called singular", interior["called_singular"]),
        ("nearly singular", interior["designs"], "not converged", interior["not_converged"]),
        ("all", _all(figures), "optimum worse than another's", optimum["worse"]),
    ]
    text = [
        "# Convergence",
        "",
        log.signature(line),
        "",
        "Random designs (`proofs/designs.py`; 1 to 4 random terms, correlated or not, balanced or not, in units from thousandths to",
        "thousands) are fitted by REML. Whether an optimum lies on the boundary is decided by a second opinion that shares nothing with the",
        "engine (`proofs/independent.py`: another criterion, full square factors without bounds, BFGS with numerical slopes, several",
        f"starts). The singular ones are {kinds}. A worse optimum is one whose log-likelihood is more than 1e-6 below the best of the",
        f"second opinion and {optimum['peer']}.",
        "",
        "| designs | how many | promise broken | times | seeds |",
        "|---|---|---|---|---|",
    ]
    text += [
        f"| {name} | {count} | {what} | {len(seeds)} | {', '.join(map(str, seeds))} |"
        for name, count, what, seeds in rows
    ]
    text += [
        "",
        f"The second opinion is never more than {optimum['largest_gap_to_second_opinion']:.1e} better. {optimum['peer']}, asked "
        f"{optimum['asked_of_peer']} times with columns of mean square 1, is never more than {optimum['largest_gap_to_peer']:.1e} better, "
        f"and worse by more than 1e-6 in {optimum['better_than_peer']}."
        + (f" lme4 warned of convergence in {of_lme4} of the well-posed designs." if of_lme4 is not None else ""),
    ]
    if figures["undecided"]:
        text.append(f"{figures['undecided']} designs lie too near to the boundary for the second opinion to say.")
    return "\n".join([*text, ""])


def _all(figures: Mapping[str, Any]) -> int:
    counted = sum(int(figures[name]["designs"]) for name in ("well_posed", "singular", "interior"))
    return counted + int(figures["undecided"])
