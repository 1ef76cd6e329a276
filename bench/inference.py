"""Add-ons at 10,000 rows beside R: Kenward–Roger, profile intervals, the parametric bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from bench.data import cached_csv
from bench.duel import Side, duel, ratio
from bench.engines import Engine, r_versions
from bench.fits import A, judge, read_data
from bench.result import Result, Verdict, clock, gap_verdict

SIZE = "10k"


@dataclass(frozen=True)
class AddOn:
    """A call on a fitted model `fit`, ours and R's; `ours_numbers` and `r_numbers` are what should agree.

    quoted : the peer's CPU seconds where R is not at hand, as published for another machine
    target : how many times the peer's time ours is, at least
    """

    name: str
    title: str
    ours: str
    peer: str
    lmer: str
    ours_numbers: str | None
    r_numbers: str | None
    quoted: float
    target: float


KENWARD_ROGER = AddOn(
    "kenward-roger",
    "Kenward–Roger, 10k",
    'fit.tests(df="kenward-roger")',
    'coef(summary(fit, ddf = "Kenward-Roger"))',
    "lmerTest::lmer",
    "np.ravel(result[['estimate', 'se', 'df']], order='F')",
    "result[, 1:3]",
    7.2,
    50.0,
)
PROFILE = AddOn(
    "profile",
    "Profile intervals, 10k",
    'fit.confint(method="profile")',
    'confint(fit, method = "profile", quiet = TRUE)',
    "lme4::lmer",
    "np.ravel(result.loc[['Intercept', 'xw', 'xb', 't', 'sd_Intercept|id', 'sd_xw|id', 'sigma']], order='F')",
    'result[c("(Intercept)", "xw", "xb", "t", ".sig01", ".sig03", ".sigma"), ]',
    21.0,
    50.0,
)
BOOTSTRAP = AddOn(
    "bootstrap",
    "Bootstrap, ours 1,000, lme4 100",
    'fit.confint(method="bootstrap", replicates=1000, seed=1)',
    'confint(fit, method = "boot", nsim = 100, quiet = TRUE)',
    "lme4::lmer",
    None,
    None,
    16.0,
    1.0,
)


def beside_r(addon: AddOn, rounds: int) -> Result:
    """Both sides get a fresh fit before each call, outside the clock, so that nothing is remembered."""
    calls = {"ours": addon.ours}
    fit = f"fit = {A.ours}"
    with Engine("ours") as ours:
        read_data(ours, SIZE, A)
        mine = Side("ours", ours, addon.ours, before=fit)
        if not r_versions():
            return _beside_quoted(addon, calls, duel([mine], rounds))
        with Engine("lme4") as peer:
            peer.run(f'frame <- read.csv("{cached_csv(SIZE)}")')
            lmer = f"fit <- {addon.lmer}({A.formula}, frame)"
            calls["lme4"] = addon.peer
            seconds = duel([mine, Side("lme4", peer, addon.peer, before=lmer)], rounds)
            agreement = _agreement(addon, ours, peer)
            ours.run("result = fit")
            peer.run("result <- fit")
            best = judge(SIZE, A, [ours, peer])
    faster = ratio(seconds["lme4"], seconds["ours"])
    gap = best[1] - best[0]
    verdict = Verdict(f"{addon.target:g} × R", str(faster), faster.value >= addon.target)
    return Result(
        addon.name,
        addon.title,
        calls,
        seconds,
        [verdict, *agreement, gap_verdict(gap)],
        rows=10_478,
        columns=A.width,
        gap=gap,
        versions=r_versions(),
    )


def _agreement(addon: AddOn, ours: Engine, peer: Engine) -> list[Verdict]:
    if addon.ours_numbers is None or addon.r_numbers is None:
        return []
    mine, theirs = np.array(ours.value(addon.ours_numbers)), np.array(peer.value(addon.r_numbers))
    apart = float(np.max(np.abs(mine - theirs) / np.abs(theirs)))
    return [Verdict("agrees with R to 1e-3", f"largest relative difference {apart:.1e}", apart < 1e-3)]


def _beside_quoted(addon: AddOn, calls: dict[str, str], seconds: dict[str, list[float]]) -> Result:
    faster = addon.quoted / median(seconds["ours"])
    words = f"{faster:.3g} × (R is not here: against {clock(addon.quoted)} of CPU time on another machine)"
    return Result(
        addon.name,
        addon.title,
        calls,
        seconds,
        [Verdict(f"{addon.target:g} × R", words, faster >= addon.target)],
        rows=10_478,
        columns=A.width,
        figures={"quoted_cpu_seconds": addon.quoted},
    )
