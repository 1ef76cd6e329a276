"""Whole fits from the frame beside mixedlm-rs: time, log-likelihood, peak memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.data import cached, load
from bench.duel import Side, duel, ratio
from bench.engines import Engine, peer_versions
from bench.referee import Referee
from bench.result import Result, Verdict, gap_verdict

FIXED = ("xw", "xb", "t")


@dataclass(frozen=True)
class Model:
    """`outcome ~ xw + xb + t + (1 + random | id)`, by REML, as each engine is called."""

    outcome: str
    random: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        return ["id", *FIXED, self.outcome]

    @property
    def width(self) -> int:
        """Columns of X, Z and y."""
        return (1 + len(FIXED)) + (1 + len(self.random)) + 1

    @property
    def formula(self) -> str:
        return f"{self.outcome} ~ {' + '.join(FIXED)} + (1 + {' + '.join(self.random)} | id)"

    @property
    def ours(self) -> str:
        return f'analysis.lmm("{self.formula}", frame)'

    @property
    def mixedlm_rs(self) -> str:
        """Its formula call."""
        fixed, random = " + ".join(FIXED), " + ".join(self.random)
        return f'mixedlm_rs.mixedlm("{self.outcome} ~ {fixed}", frame, groups="id", re_formula="~{random}").fit()'

    @property
    def mixedlm_rs_arrays(self) -> str:
        """Its call with matrices, made from the frame: spares it the formula and the check for missing values."""
        one = "np.ones(len(frame))"
        x, z = (", ".join([one, *(f"frame['{name}']" for name in names)]) for names in (FIXED, self.random))
        return (
            f"mixedlm_rs.MixedLM(frame['{self.outcome}'].to_numpy(), np.column_stack([{x}]), "
            f"frame['id'].to_numpy(), np.column_stack([{z}])).fit()"
        )


A = Model("y", ("xw",))
B = Model("y3", ("xw", "t"))

VARIANCES = {
    "ours": "[*np.ravel(result.random['id']), result.residual_sd]",
    "mixedlm-rs": "[*np.ravel(result.cov_re), result.scale ** 0.5]",
    "lme4": "c(VarCorr(result)$id, sigma(result))",
}
"""Covariance of the random effects, row by row, and the residual SD of the fit in `result`."""


def read_data(engine: Engine, size: str, model: Model) -> None:
    engine.run(f"frame = load({str(cached(size))!r}, {model.columns!r})")


def referee_of(frame: pd.DataFrame, model: Model) -> Referee:
    one = np.ones(len(frame))
    x, z = (np.column_stack([one, *(frame[name] for name in names)]) for names in (FIXED, model.random))
    return Referee.of(frame["id"].to_numpy(), x, z, frame[model.outcome].to_numpy())


def judge(size: str, model: Model, engines: list[Engine]) -> list[float]:
    """Log-likelihood, by the referee, of what each engine's last fit found."""
    referee, q = referee_of(load(cached(size), model.columns), model), 1 + len(model.random)
    out = []
    for engine in engines:
        numbers = np.array(engine.value(VARIANCES[engine.name]))
        out.append(referee.log_likelihood(numbers[:-1].reshape(q, q), float(numbers[-1])))
    return out


def fit_beside_mixedlm_rs(name: str, size: str, model: Model, rounds: int, target: float) -> Result:
    """Both of the peer's calls are timed; the target is set against its formula call, which starts where ours does."""
    with Engine("ours") as ours, Engine("mixedlm-rs") as peer:
        for engine in (ours, peer):
            read_data(engine, size, model)
        calls = {"ours": model.ours, "mixedlm-rs": model.mixedlm_rs, "mixedlm-rs arrays": model.mixedlm_rs_arrays}
        sides = [Side(key, ours if key == "ours" else peer, call) for key, call in calls.items()]
        seconds = duel(sides, rounds)
        peer.time(model.mixedlm_rs)
        mine, theirs = judge(size, model, [ours, peer])
        rows = int(ours.value("len(frame)"))
        reported = float(ours.value("result.log_likelihood"))
    faster = ratio(seconds["mixedlm-rs"], seconds["ours"])
    arrays = ratio(seconds["mixedlm-rs arrays"], seconds["ours"])
    gap = theirs - mine
    return Result(
        name=name,
        title=f"{name[0].upper()} {size}",
        calls=calls,
        seconds=seconds,
        verdicts=[
            Verdict(f"{target:g} × mixedlm-rs", str(faster), faster.value >= target),
            Verdict("(its call with matrices)", str(arrays), None),
            gap_verdict(gap),
        ],
        rows=rows,
        columns=model.width,
        gap=gap,
        figures={"log_likelihood": {"ours": mine, "mixedlm-rs": theirs, "ours, as reported": reported}},
        versions=peer_versions(),
    )


def memory_beside_mixedlm_rs(name: str, size: str, model: Model, target: float | None) -> Result:
    """Peak memory of one fit in a fresh process that has the same columns and has fitted 3,000 of their rows before."""
    calls = {"ours": model.ours, "mixedlm-rs": model.mixedlm_rs}
    seconds, megabytes = {}, {}
    for key, call in calls.items():
        with Engine(key) as engine:
            read_data(engine, size, model)
            engine.run("whole, frame = frame, frame.head(3000)")
            engine.time(call)
            engine.run("frame = whole")
            before = engine.value("memory(forget_peak=True)")["now"]
            seconds[key] = [engine.time(call)]
            peak = engine.value("memory()")["peak"]
        megabytes[key] = {"before": before, "peak": peak, "beyond": peak - before}
    beyond, peak = (megabytes["ours"][what] / megabytes["mixedlm-rs"][what] for what in ("beyond", "peak"))
    target_words = f"at most {target:.0%} of mixedlm-rs's peak" if target else "peak beside mixedlm-rs's"
    return Result(
        name=name,
        title=f"Memory, {name.split('-')[1].upper()} {size}",
        calls=calls,
        seconds=seconds,
        verdicts=[
            Verdict(
                f"{target_words}, data and libraries apart",
                _shares("beyond", beyond, megabytes),
                beyond <= target if target else None,
            ),
            Verdict(f"{target_words}, in all", _shares("peak", peak, megabytes), peak <= target if target else None),
        ],
        figures={"megabytes": megabytes},
        versions=peer_versions(),
    )


def _shares(what: str, share: float, megabytes: dict[str, dict[str, float]]) -> str:
    return f"{share:.0%} ({megabytes['ours'][what]:.0f} of {megabytes['mixedlm-rs'][what]:.0f} MB)"
