"""A formula computes with columns and listed functions; it runs no other code and leaves the frame alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import SpecError, collect


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    columns = {"y": rng.normal(size=60), "x": rng.uniform(1, 2, size=60), "arm": list("abc") * 20}
    return pd.DataFrame(columns | {"dot.ted": rng.uniform(1, 2, size=60), "person": np.repeat(range(12), 5)})


@pytest.mark.parametrize(
    ("term", "named"),
    [
        ("x.to_csv('FILE')", "x.to_csv"),
        ("np.savetxt('FILE', x)", "np.savetxt"),
        ("np.load('FILE', allow_pickle=True)", "np.load"),
        ("np.lib.format.open_memmap('FILE')", "np.lib"),
        ("I((open)('FILE', 'w'))", "open"),
        ("I((lambda: x)())", "lambda"),
        ("I((__import__)('os').system('touch FILE'))", "system"),
        ("I([eval][0]('1') + x)", "[eval][0]"),
        ("I(x.__class__)", "x.__class__"),
        ("I(x[0])", "x[0]"),
        ("{[open][0]('FILE', 'w')}", "[open][0]"),
        ("C(arm, levels=[(open)('FILE', 'w')])", "open"),
        ("center(x, _state={})", "_state"),
        ("np.log(x, x)", "np.log"),
        ("log(x, x)", "log"),
        ("I(x.clip(1, 2, inplace=True))", "x.clip"),
        ("I(x ** (9 ** 9 ** 9))", "9 ** 9"),
        ("(x + arm)**1000000", "1000000"),
        ("bs(x, df=100000)", "100000"),
        ("I(x.abs() or x)", "x.abs()orx"),
        ("Q('x')", "Q"),
    ],
)
@pytest.mark.parametrize("formula", ["y ~ {} + (1 | person)", "y ~ x + (1 + {} || person)", "{} ~ x + (1 | person)"])
def test_a_formula_runs_no_code(frame: pd.DataFrame, tmp_path: Path, formula: str, term: str, named: str) -> None:
    before, file = frame.copy(), tmp_path / "made"
    with pytest.raises(SpecError) as refusal:
        collect(formula.replace("{}", term.replace("FILE", str(file))), frame)
    assert named in str(refusal.value)
    assert not file.exists()
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "term",
    [
        "log(x)",
        "np.sqrt(x)",
        "I(x ** 2)",
        "I(x.abs())",
        "I(-x > -1.5)",
        "np.where(x > 1.5, x, 0)",
        "np.clip(x, 1.1, 1.9)",
        "bs(x, df=4)",
        "cr(x, df=3)",
        "poly(x, 2)",
        "scale(x)",
        "center(x)",
        "C(arm)",
        "C(arm, contr.sum)",
        "C(arm, Treatment(reference='b'))",
        "C(arm, levels=['c', 'a', 'b'])",
        "log(`dot.ted`) * arm",
        "np.exp(within(x))",
        "I(x * 10 ** 2)",
        "{x / 2}",
        "(x + arm)**2",
    ],
)
def test_what_a_formula_may_compute(frame: pd.DataFrame, term: str) -> None:
    collect(f"y ~ {term} + (1 | person)", frame)
