"""Beyond one level and the normal: binary outcomes, serial residuals, nested and crossed factors, beside mixedlm, lme4 and nlme."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.data import cached, cached_csv
from bench.duel import Side, duel, ratio
from bench.engines import ROOT, Engine, EngineError, peer_versions, r_versions
from bench.result import Result, Verdict, clock, gap_verdict

NESTED = "yn ~ xw + xb + t + (1 + xw | id) + (1 | pid_day)"
SERIAL = "yar ~ xw + xb + t + (1 + xw | id)"
CROSSED = "y ~ service + (1 | s) + (1 | d) + (1 | {cell})"
INSTEVAL = Path(os.environ.get("EMA_REFERENCE") or ROOT.parent / "shared" / "reference") / "data" / "insteval.csv.gz"
SERIAL_CALL = f'analysis.lmm("{SERIAL}", frame, residual=analysis.AR1("obs", within="id"))'


@dataclass(frozen=True)
class Workload:
    """One model, our call and the peer's, on one size of the diary; `near` is the gap in log-likelihood that may be left.

    target : how many times the peer's time ours is, at least;  quoted : the peer's CPU seconds where R is not at hand
    """

    name: str
    title: str
    columns: tuple[str, ...]
    ours: str
    engine: str
    peer: str
    peer_log_likelihood: str
    near: float
    target: float
    rounds: int
    size: str = "100k"
    quoted: float | None = None


def _lmer(formula: str) -> str:
    return f'mixedlm.lmer("{formula}", frame)'


def _glmer(formula: str, more: str = "") -> str:
    return f'mixedlm.glmer("{formula}", frame, family=mixedlm.families.Binomial(){more})'


EVENT = ("id", "xw", "xb", "event")
WORKLOADS = (
    Workload(
        "c1-100k", "C1 100k logit, Laplace", EVENT,
        'analysis.glmm("event ~ xw + xb + (1 | id)", frame)',
        "mixedlm", _glmer("event ~ xw + xb + (1 | id)"), "float(result.logLik())", 1e-4, 10.0, 5,
    ),
    Workload(
        "c1q-100k", "C1q 100k logit, 9 points", EVENT,
        'analysis.glmm("event ~ xw + xb + (1 | id)", frame, agq=9)',
        "mixedlm", _glmer("event ~ xw + xb + (1 | id)", ", nAGQ=9"), "float(result.logLik())", 1e-4, 10.0, 5,
    ),
    Workload(
        "c2-100k", "C2 100k logit, random slope", EVENT,
        'analysis.glmm("event ~ xw + xb + (1 + xw | id)", frame)',
        "lme4",
        'glmer(event ~ xw + xb + (1 + xw | id), frame, binomial, control = glmerControl(optimizer = "nloptwrap"))',
        "as.numeric(logLik(result))", 1e-4, 20.0, 1, quoted=11.7,
    ),
    Workload(
        "d-10k", "D 10k AR(1)", ("id", "obs", "xw", "xb", "t", "yar"), SERIAL_CALL,
        "lme4",
        "nlme::lme(yar ~ xw + xb + t, frame, random = ~ xw | id, correlation = nlme::corAR1(form = ~ obs | id))",
        "as.numeric(logLik(result))", 1e-4, 50.0, 1, size="10k", quoted=8.5,
    ),
    Workload(
        "e-100k", "E 100k nested", ("id", "pid_day", "xw", "xb", "t", "yn"),
        f'analysis.lmm("{NESTED}", frame)', "mixedlm", _lmer(NESTED), "float(result.logLik())", 1e-6, 8.0, 5,
    ),
)  # fmt: skip


def beside(work: Workload, quick: bool) -> Result:
    """Whole calls from the frame; each engine has fitted 3,000 of its rows before the clock starts."""
    with Engine("ours") as ours:
        ours.run(f"frame = load({str(cached(work.size))!r}, {list(work.columns)!r})")
        if work.engine == "lme4" and not r_versions():
            return _quoted(work, ours)
        with Engine(work.engine) as peer:
            if work.engine == "lme4":
                peer.run(f"frame <- read.csv({str(cached_csv(work.size))!r}); frame$id <- factor(frame$id)")
            else:
                peer.run(f"frame = load({str(cached(work.size))!r}, {list(work.columns)!r})")
                peer.run("frame = frame.assign(**{n: frame[n].astype(str) for n in ('id', 'pid_day') if n in frame})")
            return _judged(work, ours, peer, 2 if quick else work.rounds)


def crossed(quick: bool) -> Result:
    """The lecture evaluations of lme4's InstEval (Bates et al., 2015), students crossed with lecturers, beside mixedlm."""
    if not INSTEVAL.exists():
        raise EngineError(f"InstEval is not at {INSTEVAL}; set EMA_REFERENCE to the folder of reference answers.")
    work = Workload(
        "f-insteval", "F InstEval, crossed", (),
        f'analysis.lmm("{CROSSED.format(cell="dept:service")}", frame)', "mixedlm",
        _lmer(CROSSED.format(cell="cell")), "float(result.logLik())", 1e-6, 4.0, 3,
    )  # fmt: skip
    with Engine("ours") as ours, Engine("mixedlm") as peer:
        for engine in (ours, peer):
            engine.run(f"frame = pd.read_csv({str(INSTEVAL)!r})")
        peer.run("frame['cell'] = frame['dept'].astype(str) + '_' + frame['service'].astype(str)")
        peer.run("frame = frame.assign(**{n: frame[n].astype(str) for n in ('s', 'd')})")
        return _judged(work, ours, peer, 2 if quick else work.rounds)


def alone(
    name: str, title: str, size: str, call: str, columns: tuple[str, ...], seconds: float, gigabytes: float | None
) -> Result:
    """One fit by itself, against limits of time and of the process's peak memory."""
    with Engine("ours") as engine:
        engine.run(f"whole = load({str(cached(size))!r}, {list(columns)!r}); frame = whole.head(3000)")
        engine.time(call)
        engine.run("frame = whole")
        times = [engine.time(call) for _ in range(3)]
        peak = float(engine.value("memory()")["peak"]) / 1000.0
        sound = bool(engine.value("bool(result.converged)"))
        rows = int(engine.value("len(frame)"))
    verdicts = [Verdict(f"at most {seconds:g} s", clock(median(times)), median(times) <= seconds)]
    if gigabytes is not None:
        verdicts.append(Verdict(f"at most {gigabytes:g} GB", f"{peak:.2f} GB", peak <= gigabytes))
    verdicts.append(Verdict("the optimum is proven", "yes" if sound else "no", sound))
    return Result(name, title, {"ours": call}, {"ours": times}, verdicts, rows=rows)


def serial_100k() -> Result:
    columns = ("id", "obs", "xw", "xb", "t", "yar")
    return alone("d-100k", "D 100k AR(1)", "100k", SERIAL_CALL, columns, 5.0, None)


def three_levels() -> Result:
    columns = ("id", "pid_day", "xw", "xb", "t", "yn")
    call = f'analysis.lmm("{NESTED}", frame)'
    return alone("three-levels-1m", "3 levels, 1m rows, 260,000 person-days", "1m", call, columns, 3.0, 1.5)


def _judged(work: Workload, ours: Engine, peer: Engine, rounds: int) -> Result:
    ours.run("whole, frame = frame, frame.head(3000)")
    ours.time(work.ours)
    ours.run("frame = whole")
    if work.engine != "lme4":
        peer.run("whole, frame = frame, frame.head(3000)")
        peer.time(work.peer)
        peer.run("frame = whole")
    seconds = duel([Side("ours", ours, work.ours), Side(work.engine, peer, work.peer)], rounds)
    mine = float(ours.value("result.log_likelihood"))
    found = peer.value(work.peer_log_likelihood)
    theirs = float(found[0] if isinstance(found, list) else found)
    faster = ratio(seconds[work.engine], seconds["ours"])
    gap = theirs - mine
    versions = r_versions() if work.engine == "lme4" else peer_versions()
    return Result(
        name=work.name,
        title=work.title,
        calls={"ours": work.ours, work.engine: work.peer},
        seconds=seconds,
        verdicts=[
            Verdict(
                f"{work.target:g} × {'R' if work.engine == 'lme4' else work.engine}",
                str(faster),
                faster.value >= work.target,
            ),
            gap_verdict(gap)
            if work.near <= 1e-6
            else Verdict("optimum matched to 1e-4", f"{gap:.1e}", gap <= work.near),
        ],
        rows=int(ours.value("len(frame)")),
        gap=gap,
        figures={"log_likelihood": {"ours": mine, work.engine: theirs}},
        versions=versions,
    )


def _quoted(work: Workload, ours: Engine) -> Result:
    assert work.quoted is not None
    ours.time(work.ours)
    times = [ours.time(work.ours) for _ in range(3)]
    value = work.quoted / median(times)
    verdict = Verdict(
        f"{work.target:g} × R", f"{value:.3g} × (R's {work.quoted:g} CPU seconds are quoted)", value >= work.target
    )
    return Result(work.name, work.title, {"ours": work.ours}, {"ours": times}, [verdict])
