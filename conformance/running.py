"""Checks, in the order in which they are written down, and what became of each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import httpx

from conformance.wire import Api, Phone, Problematic

Verdict = Literal["PASS", "FAIL", "SKIP"]


class Failed(Exception):
    """The promise is broken; the text is the evidence."""


class Skipped(Exception):
    """It cannot be told here; the text says why."""


@dataclass
class Kit:
    """What checks share: the server, the phones by the number of their code, and what was stored by whom."""

    api: Api
    codes: list[str]
    study_code: bool = False
    phones: dict[int, Phone] = field(default_factory=dict)
    borrowed: set[str] = field(default_factory=set)  # ids of the first person that the second one sent as well

    def code(self, number: int) -> str:
        if self.study_code:
            return self.codes[0]
        if number > len(self.codes):
            raise Skipped(f"this check needs {number} codes and {len(self.codes)} came (--code, one for each phone)")
        return self.codes[number - 1]

    def phone(self, number: int = 1) -> Phone:
        """The phone of the n-th code, enrolled when it is first asked for."""
        if number not in self.phones:
            self.phones[number] = Phone.enrolled(self.api, self.code(number))
        return self.phones[number]


@dataclass(frozen=True, slots=True)
class Check:
    id: str
    promise: str
    run: Callable[[Kit], str]


@dataclass(frozen=True, slots=True)
class Result:
    id: str
    promise: str
    verdict: Verdict
    evidence: str
    seconds: float


CHECKS: list[Check] = []


def check(id: str, promise: str) -> Callable[[Callable[[Kit], str]], Callable[[Kit], str]]:
    """Register a check. It returns its evidence, or raises Failed or Skipped with words."""

    def register(run: Callable[[Kit], str]) -> Callable[[Kit], str]:
        CHECKS.append(Check(id, promise, run))
        return run

    return register


def expect(holds: object, evidence: str) -> None:
    if not holds:
        raise Failed(evidence)


def skip(reason: str) -> NoReturn:
    raise Skipped(reason)


def run_all(kit: Kit, checks: Iterable[Check]) -> Iterator[Result]:
    for each in checks:
        began = time.monotonic()
        verdict, evidence = _judged(each, kit)
        yield Result(each.id, each.promise, verdict, evidence, round(time.monotonic() - began, 3))


def _judged(each: Check, kit: Kit) -> tuple[Verdict, str]:
    try:
        return "PASS", each.run(kit)
    except Failed as failed:
        return "FAIL", str(failed)
    except Skipped as skipped:
        return "SKIP", str(skipped)
    except Problematic as problem:
        return "FAIL", str(problem)
    except httpx.TransportError as error:
        return "FAIL", f"no answer: {type(error).__name__} {error}"
    except (
        Exception
    ) as error:  # an answer of a shape that nobody thought of is the server's fault, and costs no other check
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "FAIL", f"the answer is not of the API's shape: {type(error).__name__}: {error} ({place.name})"
