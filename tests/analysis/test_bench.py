"""The benchmarks' own tools: the data are those that the published figures stand on, the referee and the clock are fair."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

import analysis
from bench.data import SIZES, simulate
from bench.duel import Side, duel, ratio
from bench.engines import COMMANDS, Engine, EngineError
from bench.fits import VARIANCES, A, B, referee_of
from bench.result import gap_verdict

DIGESTS = {  # of all columns in order, from the script that made the data of the published comparison (NumPy 2.4.6)
    "10k": "ae327939ecf43ca36e260b8eac7292bfbe32e19acdda378df72444e68ac29aae",
    "100k": "0dd47f97a97213d8221c491d1cc534b88e52d2e2087997fab36037342014325d",
}
ROUNDING = 1e-9  # of a log-likelihood near 2e4, by two routes


@pytest.mark.parametrize("size", DIGESTS)
def test_the_data_are_those_of_the_published_comparison(size):
    frame = simulate(SIZES[size])
    digest = hashlib.sha256()
    for name in frame:
        digest.update(np.ascontiguousarray(frame[name].to_numpy().astype("<f8")).tobytes())
    assert digest.hexdigest() == DIGESTS[size]


@pytest.mark.parametrize("model", [A, B])
def test_the_referee_has_the_log_likelihood_of_the_engine(model):
    frame = simulate(SIZES["10k"])
    fit = analysis.lmm(model.formula, frame)
    referee = referee_of(frame, model)
    assert referee.log_likelihood(fit.random["id"].to_numpy(), fit.residual_sd) == pytest.approx(
        fit.log_likelihood, abs=ROUNDING
    )
    elsewhere = referee.log_likelihood(1.01 * fit.random["id"].to_numpy(), fit.residual_sd)
    assert elsewhere < fit.log_likelihood - 1e-4


def test_a_worse_answer_fails_and_a_better_one_is_told():
    assert gap_verdict(2e-6).met is False
    assert gap_verdict(-0.22).figure == "ours is better by 0.22"


def test_sides_alternate_after_one_warm_up():
    asked: list[str] = []

    class Fake:
        def __init__(self, name):
            self.name = name

        def run(self, code):
            asked.append(f"{self.name}: {code}")

        def time(self, call):
            asked.append(self.name)
            return 1.0 if self.name == "a" else 2.0

    seconds = duel([Side("a", Fake("a"), "call"), Side("b", Fake("b"), "call", before="prepare")], 2)
    assert asked == ["a", "b: prepare", "b", "a", "b: prepare", "b", "b: prepare", "b", "a"]
    assert ratio(seconds["b"], seconds["a"]).value == 2.0


def test_a_worker_times_a_call_and_tells_what_went_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr("bench.engines.CACHE", tmp_path)
    monkeypatch.setitem(COMMANDS, "ours", [sys.executable, "-m", "bench.worker", "math"])
    with Engine("ours") as engine:
        engine.run("print('noise'); frame = pd.DataFrame({'y': [1.0, 2.0]})")
        assert 0.0 < engine.time("math.fsum(frame['y'])") < 1.0
        assert engine.value("[result, np.float64(0.5)]") == [3.0, 0.5]
        assert engine.value("memory()")["peak"] > 1.0
        with pytest.raises(EngineError, match="KeyError"):
            engine.time("frame['z']")
    assert "noise" in (tmp_path / "ours.log").read_text()


def test_each_engine_says_its_variances_row_by_row():
    frame = simulate(SIZES["10k"])
    names = {"result": analysis.lmm(A.formula, frame), "np": np}
    numbers = eval(VARIANCES["ours"], names)
    assert len(numbers) == 5
    assert numbers[1] == pytest.approx(numbers[2], rel=1e-14)
