"""Writes families.csv: row likelihoods and their derivatives from mpmath at 120 digits. Needs mpmath; tests need the file alone.

Columns: family, y, size, eta, extra (separated by spaces), then the twelve numbers of `families.expand`.
"""

import csv
from pathlib import Path

import mpmath as mp

mp.mp.dps = 120


def cdf(probit, x):
    if mp.isinf(x):
        return mp.mpf(1 if x > 0 else 0)
    return mp.erfc(-x / mp.sqrt(2)) / 2 if probit else 1 / (1 + mp.exp(-x))


def log_likelihood(family, y, size, eta, extra):
    if family <= 2:
        event = {0: cdf(False, eta), 1: cdf(True, eta), 2: -mp.expm1(-mp.exp(eta))}[family]
        other = {0: cdf(False, -eta), 1: cdf(True, -eta), 2: mp.exp(-mp.exp(eta))}[family]
        return (size * y * mp.log(event) if y > 0 else 0) + (size * (1 - y) * mp.log(other) if y < 1 else 0)
    if family == 3:
        return y * eta - mp.exp(eta)
    if family == 4:
        kappa, mean = mp.exp(extra[0]), mp.exp(eta)
        logs = mp.loggamma(y + kappa) - mp.loggamma(kappa) - y * extra[0]
        return logs + y * eta - (y + kappa) * mp.log(1 + mean / kappa)
    j = int(y)
    high = extra[j] - eta if j < len(extra) else mp.inf
    low = extra[j - 1] - eta if j > 0 else -mp.inf
    if high + low > 0:
        high, low = -low, -high
    return mp.log(cdf(family == 6, high) - cdf(family == 6, low))


def expansion(family, y, size, eta, extra):
    eta, extra = mp.mpf(eta), [mp.mpf(value) for value in extra]
    out = [mp.diff(lambda e: log_likelihood(family, y, size, e, extra), eta, n) for n in range(4)]
    places = {4: [0, -1]}.get(family, [y if y < len(extra) else -1, y - 1] if family > 4 else [-1, -1])
    for place in places:
        out.append(place)
        for n in range(3):

            def at(e, value, place=place):
                return log_likelihood(family, y, size, e, [*extra[:place], value, *extra[place + 1 :]])

            out.append(mp.diff(at, (eta, extra[place]), (n, 1)) if place >= 0 else 0)
    return [float(value) for value in out]


def cases():
    for eta in (-30.0, -4.9, -1.0, 0.5, 5.1, 8.0, 30.0):
        yield from ((0, 0.25, 4, eta, []), (1, 1, 1, eta, []), (1, 0.25, 4, eta, []), (1, 0, 1, eta, []))
    for eta in (-30.0, -2.4, -2.2, 0.0, 1.5, 6.0):
        yield from ((2, 1, 1, eta, []), (2, 0.5, 4, eta, []))
    yield from ((3, 3, 1, eta, []) for eta in (-20.0, 0.0, 5.0))
    for eta in (-8.0, 1.0, 6.0):
        yield from ((4, y, 1, eta, [log]) for y in (0, 7, 40, 300) for log in (-3.0, 0.0, 6.0, 14.0))
    for eta in (-35.0, -3.0, -0.2, 2.0, 20.0):
        for extra in ([-1.0, 0.5, 0.75, 2.0], [-1.0, -0.5, -0.499, 30.0], [-2.0, -1.999999, 0.0, 1.0]):
            yield from ((family, y, 1, eta, extra) for family in (5, 6) for y in range(5))


with (Path(__file__).parent / "families.csv").open("w", newline="") as file:
    out = csv.writer(file)
    for family, y, size, eta, extra in cases():
        numbers = expansion(family, y, size, eta, extra)
        out.writerow([family, y, size, eta, " ".join(map(repr, extra)), *map(repr, numbers)])
