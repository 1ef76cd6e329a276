"""What an export holds: its columns, known before the first row, and its rows in pieces of whole persons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ema_server.common.errors import DomainError
from ema_server.common.version import code_version
from ema_server.exports import answers
from ema_server.exports.models import Export
from ema_server.reports import dataset
from ema_server.reports.dataset import parts
from ema_server.reports.variables import Variable
from ema_server.studies.models import Study


class TextInPrompts(DomainError):
    code = "text_in_prompts"
    status = 400


@dataclass(frozen=True)
class Contents:
    study: Study
    shape: str
    cutoff: datetime
    plan: Mapping[str, Any]
    with_text: bool
    variables: list[Variable]
    weight: int  # how much there is to read, in the unit in which `pieces` tells how far it is
    pieces: Callable[[], Iterator[tuple[pd.DataFrame, int]]]  # rows, and how much of the weight they are

    @property
    def about(self) -> dict[str, str]:
        """What every file says of itself."""
        return {
            "study": self.study.slug,
            "title": self.study.title,
            "shape": self.shape,
            "cutoff": self.cutoff.astimezone(UTC).isoformat(),
            "zone": self.study.zone,
            "with_text": "yes" if self.with_text else "no",
            "code": code_version(),
        }


def contents(
    study: Study, *, shape: str, cutoff: datetime, plan: Mapping[str, Any], with_text: bool = False
) -> Contents:
    """What there is to export. Its pieces are read from the snapshot in which this is called."""
    if shape == Export.Shape.ANSWERS:
        people = answers.people(study, cutoff)

        def of_answers() -> Iterator[tuple[pd.DataFrame, int]]:
            read = answers.chunks(study, cutoff, plan, people, with_text=with_text)
            for part, frame in zip(parts(people, answers.SUBMISSIONS), read, strict=True):
                yield frame, sum(person.rows for person in part)

        weight = sum(person.rows for person in people)
        return Contents(study, shape, cutoff, plan, with_text, answers.VARIABLES, weight, of_answers)
    if with_text:
        raise TextInPrompts("with_text: free text is in no column of the prompts; ask for the answers, one row each.")
    source = dataset.read_source(study, cutoff, plan)

    def of_prompts() -> Iterator[tuple[pd.DataFrame, int]]:
        for part in parts(source.persons, dataset.ROWS):
            frame = dataset.read_frame(source, part)
            yield frame, len(frame)

    return Contents(study, shape, cutoff, plan, with_text, source.variables, source.rows, of_prompts)
