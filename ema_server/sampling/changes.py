"""What another schedule does to the prompts ahead of one person: values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from ema_server.sampling.plan import Draw

Key = tuple[str, int, int]  # rule, day, slot
MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Ahead:
    """A prompt that is still to come and may change: nobody has answered it, and nothing has become of it."""

    id: UUID
    key: Key
    opens: datetime
    closes: datetime
    questionnaire: str
    grace_minutes: int = 0
    wave: str = ""
    practice: bool = False
    called_off: bool = False  # by an earlier change
    zone: str = ""
    besides: tuple[object, ...] = ()


@dataclass(slots=True)
class Changes:
    """What becomes of the prompts ahead of one person. Nothing else of theirs is touched."""

    same: int = 0
    moved: list[tuple[Ahead, Draw]] = field(default_factory=list)
    altered: list[tuple[Ahead, Draw]] = field(default_factory=list)  # at the same time, with another closing time …
    added: list[Draw] = field(default_factory=list)
    restored: list[tuple[Ahead, Draw]] = field(default_factory=list)
    called_off: list[Ahead] = field(default_factory=list)
    too_close: list[Ahead | Draw] = field(default_factory=list)  # to a prompt that stays
    ahead: int = 0  # how many there were that might have changed

    @property
    def counts(self) -> dict[str, int]:
        return {
            "same": self.same,
            "moved": len(self.moved),
            "altered": len(self.altered),
            "added": len(self.added),
            "restored": len(self.restored),
            "called_off": len(self.called_off),
            "too_close": len(self.too_close),
        }

    @property
    def any(self) -> bool:
        return any(count for name, count in self.counts.items() if name != "same")


def compare(
    ahead: Iterable[Ahead],
    draws: Iterable[Draw],
    *,
    settled: Collection[Key],
    asked: Sequence[datetime],
    gap_minutes: int,
) -> Changes:
    """The prompts ahead beside those that the new schedule draws for the same time.

    `settled` are the keys of prompts that stay as they are, whatever is drawn for them. `asked` are the times at which those
    were or will be asked: what would now come closer to one than the gap is not asked, and counted as such.
    """
    ahead = list(ahead)
    gap, found = timedelta(minutes=gap_minutes), Changes(ahead=len(ahead))
    wanted = {(draw.rule, draw.day, draw.slot): draw for draw in draws}
    for key in settled:
        wanted.pop(key, None)
    for prompt in ahead:
        draw = wanted.pop(prompt.key, None)
        if draw is None:
            if not prompt.called_off:
                found.called_off.append(prompt)
        elif not prompt.called_off and (prompt.opens, *_told(prompt)) == (draw.opens, *_told(draw)):
            found.same += 1  # however close it is: it was before, and this change is not about it
        elif _too_close(draw, asked, gap):
            if not prompt.called_off:
                found.too_close.append(prompt)
        elif prompt.called_off:
            found.restored.append((prompt, draw))
        elif prompt.opens != draw.opens:
            found.moved.append((prompt, draw))
        else:
            found.altered.append((prompt, draw))
    for draw in wanted.values():
        (found.too_close if _too_close(draw, asked, gap) else found.added).append(draw)
    return found


def _told(what: Ahead | Draw) -> tuple[object, ...]:
    return what.closes, what.questionnaire, what.grace_minutes, what.wave, what.practice, what.zone, what.besides


def _too_close(draw: Draw, asked: Sequence[datetime], gap: timedelta) -> bool:
    return any(abs(draw.opens - moment) < gap for moment in asked)


@dataclass(slots=True)
class Diff:
    """What a change does, over everybody whom it concerns."""

    people: int = 0
    touched: int = 0  # people for whom anything changes
    counts: dict[str, int] = field(default_factory=dict)
    staying: int = 0  # prompts that cannot change: past, answered, or of a day on which the change does not hold yet
    examples: list[tuple[str, Changes]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # for whom the schedule cannot be met, with the arithmetic

    def add(self, pseudonym: str, changes: Changes, *, prompts: int) -> None:
        """One person more, who has so many prompts in all."""
        self.people += 1
        self.staying += prompts - changes.ahead
        for name, count in changes.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if changes.any:
            self.touched += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append((pseudonym, changes))

    def join(self, other: Diff) -> None:
        """What another change does to other people."""
        self.people, self.touched, self.staying = (
            self.people + other.people,
            self.touched + other.touched,
            self.staying + other.staying,
        )
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self.examples = [*self.examples, *other.examples][:MOST_EXAMPLES]
        self.refused += other.refused

    @property
    def any(self) -> bool:
        return self.touched > 0

    def in_words(self) -> str:
        """One sentence: what moves, what comes and goes, and that nothing else does."""
        stays = f"0 past or answered prompts are touched ({self.staying:,} stay as they are)."
        if not self.any:
            return f"No future prompt of {self.people:,} {_people(self.people)} changes; {stays}"
        first, _, rest = counts_in_words(self.counts).partition(" ")
        return f"{first} future {'prompt' if first == '1' else 'prompts'} of {self.touched:,} {_people(self.touched)} {rest}; {stays}"


VERBS = {
    "moved": ("moves", "move"),
    "altered": ("keeps its time and changes otherwise", "keep their time and change otherwise"),
    "added": ("is added", "are added"),
    "restored": ("is asked again", "are asked again"),
    "called_off": ("falls away", "fall away"),
    "too_close": (
        "is not asked, being closer than the gap to one that stays",
        "are not asked, being closer than the gap to one that stays",
    ),
}


def counts_in_words(counts: Mapping[str, int]) -> str:
    """What a change did, as it is kept: "142 move, 4 fall away"."""
    parts = [f"{counts[name]:,} {_verb(verb, counts[name])}" for name, verb in VERBS.items() if counts.get(name)]
    return ", ".join(parts) or "no prompt changes"


def _verb(verb: tuple[str, str], count: int) -> str:
    return verb[count != 1]


def _people(count: int) -> str:
    return "participant" if count == 1 else "participants"
