"""Numbers on pages read like the numbers in the engine's sentences."""

from __future__ import annotations

import pytest

from analysis import words
from ema_server.common import figures


@pytest.mark.parametrize(
    "value", [None, float("nan"), float("inf"), 0.0, -0.0, -0.004, 0.005, -1.5, 4151.0, -12345.678]
)
@pytest.mark.parametrize("decimals", [0, 2, 4])
def test_the_page_and_the_sentences_write_a_number_alike(value: float | None, decimals: int) -> None:
    for sign in (False, True):
        assert figures.number(value, decimals, sign=sign) == words.number(value, decimals, sign=sign)


@pytest.mark.parametrize("value", [None, float("nan"), 0.0, 0.0009, 0.001, 0.05, 1.0])
def test_and_a_p_value(value: float | None) -> None:
    assert figures.p_value(value) == words.p_value(value)
