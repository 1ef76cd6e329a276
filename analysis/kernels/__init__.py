"""Numba loops: arrays in, arrays out; serial, so that the same data give the same bits. Twins in numpy: `twins`.

All arrays are C-contiguous float64; rows stand person by person, person i in `starts[i]:starts[i + 1]`.
"""

from analysis.kernels.warm import compile_note, warm_up

__all__ = ["compile_note", "warm_up"]
