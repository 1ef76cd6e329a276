"""Writing questionnaires: every revision is kept, nobody overwrites anybody, and a sound one becomes a version."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db import transaction

from ema_server.accounts.models import User
from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.studies import publishing, queries, services
from ema_server.studies.models import Study, SurveyDraft, SurveyVersion
from ema_server.surveys.changes import changes
from ema_server.surveys.exchange import CannotRead
from ema_server.surveys.files import texts_in
from ema_server.surveys.typed import Typed, TypedFault, read_typed, with_lines, written

LARGEST = 1_000_000  # bytes
LARGEST_FILE = 5_000_000
MANY_LINES = 2_000  # beyond them lines that stand often (a lone bracket) are no landmarks: it would take minutes
MOST_LINES = 40_000  # beyond them two texts are not compared line by line, which takes the square of their number
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
TYPED = "typed"
SHOWN_AT_ONCE = 12  # faults in one message


class DraftTooLarge(DomainError):
    code = "draft_too_large"
    status = 413


class FileRefused(DomainError):
    code = "file_refused"
    status = 400


class NoName(DomainError):
    code = "no_name"
    status = 400


class NameTaken(DomainError):
    code = "name_taken"


class NoDraft(DomainError):
    code = "no_draft"


class DraftFaulty(DomainError):
    code = "draft_faulty"
    status = 400


class DraftMoved(DomainError):
    """Somebody else saved meanwhile. Nothing is lost: `newest` is theirs, `mine` is what was kept beside it, if anything."""

    code = "draft_moved"

    def __init__(self, *, newest: SurveyDraft, mine: SurveyDraft | None = None) -> None:
        said = f"{newest.editor_name} saved revision {newest.number} on {newest.edited_at:%Y-%m-%d at %H:%M} UTC."
        then = f" Yours is kept beside it as revision {mine.number}." if mine else " Look at it before you publish."
        super().__init__(said + then)
        self.newest, self.mine = newest, mine


def newest_draft(study: Study, questionnaire: str) -> SurveyDraft | None:
    """The revision that counts: the last one of the main line."""
    drafts = study.survey_drafts.filter(questionnaire=questionnaire, aside=False)
    return drafts.select_related("edited_by").order_by("-number").first()


def save_draft(
    *,
    study: Study,
    questionnaire: str,
    text: str,
    based_on: int | None,
    editor: User | None,
    actor: str,
    now: datetime,
    source: str = TYPED,
    lost: Sequence[str] = (),
) -> SurveyDraft:
    """Keep what was typed as the next revision, whatever is wrong with it. The text that is there already makes none.

    Where somebody else saved since the revision that this one is `based_on`, the text is kept beside theirs and `DraftMoved`
    tells of both. It is raised after the transaction, so do not call this inside another one: it would take the text back.
    """
    mine, newest = _keep(
        study=study, questionnaire=questionnaire, text=text, based_on=based_on, editor=editor, actor=actor, now=now,
        source=source, lost=lost,
    )  # fmt: skip
    if newest is not None and mine.aside:
        raise DraftMoved(newest=newest, mine=mine)
    return mine


def begin_draft(*, study: Study, questionnaire: str, text: str, editor: User, actor: str, now: datetime) -> SurveyDraft:
    """The first draft of a questionnaire that is not there yet."""
    check_name(questionnaire)
    if queries.has_questionnaire(study, questionnaire):
        raise NameTaken(f"name: there is a questionnaire {questionnaire!r} already; choose another short name.")
    return save_draft(
        study=study, questionnaire=questionnaire, text=text, based_on=None, editor=editor, actor=actor, now=now,
        source="example",
    )  # fmt: skip


def import_file(
    *,
    study: Study,
    questionnaire: str,
    name: str,
    content: bytes,
    based_on: int | None,
    editor: User | None,
    actor: str,
    now: datetime,
) -> list[SurveyDraft]:
    """The questionnaires of a file as drafts, all of them or none. A single one becomes a draft of `questionnaire`, where
    that is given; several keep the names that they bring and are put on top of what is there."""
    if len(content) > LARGEST_FILE:
        raise DraftTooLarge(f"file: {len(content):,} bytes; a file may have at most {LARGEST_FILE:,}.")
    try:
        brought = texts_in(name, content)
    except CannotRead as refused:
        raise FileRefused(f"{name}: {refused.detail}") from refused
    kept = []
    with transaction.atomic():
        for own_name, text in brought.texts.items():
            slug = questionnaire if questionnaire and len(brought.texts) == 1 else own_name
            check_name(slug)
            newest = newest_draft(study, slug)
            base = based_on if slug == questionnaire else (newest.number if newest else None)
            one = _keep(
                study=study, questionnaire=slug, text=text, based_on=base, editor=editor, actor=actor,
                now=now, source=name, lost=[*brought.lost, *(f"{note} (nothing is lost)" for note in brought.notes)],
            )  # fmt: skip
            kept.append(one)
    for mine, newest in kept:
        if newest is not None and mine.aside:
            raise DraftMoved(newest=newest, mine=mine)
    return [mine for mine, _ in kept]


def check_name(questionnaire: str) -> str:
    """A questionnaire's short name, which stands in addresses and in the data."""
    if not NAME.fullmatch(questionnaire):
        raise NoName(
            f"name: {questionnaire[:60]!r} cannot be a questionnaire's short name; write at most 50 letters, digits, - and _,"
            " like momentary."
        )
    return questionnaire


@transaction.atomic
def _keep(
    *,
    study: Study,
    questionnaire: str,
    text: str,
    based_on: int | None,
    editor: User | None,
    actor: str,
    now: datetime,
    source: str,
    lost: Sequence[str],
) -> tuple[SurveyDraft, SurveyDraft | None]:
    text = text.replace("\r\n", "\n").replace("\x00", "�")  # a form's line ends; PostgreSQL stores no NUL
    content = text.encode("utf-8", "replace")
    if len(content) > LARGEST:
        raise DraftTooLarge(
            f"document: {len(content):,} bytes; a questionnaire has at most {LARGEST:,}. Split it into several."
        )
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    newest, digest = newest_draft(study, questionnaire), sha256(content).hexdigest()
    if newest is not None and newest.digest == digest:
        return newest, newest
    revisions = study.survey_drafts.filter(questionnaire=questionnaire)
    aside = newest is not None and based_on != newest.number
    if aside and (kept := revisions.filter(aside=True, based_on=based_on, digest=digest).first()):
        return kept, newest  # sent a second time
    last = revisions.order_by("-number").first()
    draft = SurveyDraft.objects.create(
        study=study, questionnaire=questionnaire, number=last.number + 1 if last else 1, based_on=based_on, aside=aside,
        text=content.decode(), digest=digest, source=source[:200], lost=list(lost), edited_by=editor, edited_at=now,
    )  # fmt: skip
    audit.record(
        action="draft.saved",
        actor=actor,
        study_id=study.pk,
        about=f"draft:{questionnaire}:{draft.number}",
        changes={"digest": draft.digest},
    )
    return draft, newest


@dataclass(frozen=True, slots=True)
class Review:
    """A draft beside the version that is in use: what is wrong, and what would change."""

    draft: SurveyDraft
    current: SurveyVersion | None
    typed: Typed
    faults: list[TypedFault]
    changes: list[str]

    @property
    def publishable(self) -> bool:
        return not self.faults and self.typed.document is not None

    @property
    def published(self) -> bool:
        return self.current is not None and self.typed.document == self.current.document


def review(draft: SurveyDraft) -> Review:
    """What publishing this draft would do."""
    current, typed = queries.survey_version(draft.study, draft.questionnaire, None), read_typed(draft.text)
    faults = faults_of(draft.study, draft.questionnaire, draft.text, typed=typed, current=current)
    differences = changes(current.document, typed.document) if current and typed.document and typed.sound else []
    return Review(draft, current, typed, faults, differences)


def faults_of(
    study: Study, questionnaire: str, text: str, *, typed: Typed | None = None, current: SurveyVersion | None = None
) -> list[TypedFault]:
    """Everything that keeps a text from being published: its own faults and what others rely on."""
    typed = typed or read_typed(text)
    current = current or queries.survey_version(study, questionnaire, None)
    if not typed.sound or typed.document is None or current is None:
        return list(typed.faults)
    held = publishing.guard_faults(study, questionnaire, current.document, typed.document)
    return with_lines(text, held)


@transaction.atomic
def publish_draft(*, study: Study, questionnaire: str, number: int, actor: str) -> SurveyVersion:
    """Make the draft that somebody looked at the next version. Who was overtaken by a newer draft is told."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    newest = newest_draft(study, questionnaire)
    if newest is None:
        raise NoDraft(f"{questionnaire} has no draft; save one first.")
    if newest.number != number:
        raise DraftMoved(newest=newest)
    found = review(newest)
    if not found.publishable or found.typed.document is None:
        told = " ".join(str(each) for each in found.faults[:SHOWN_AT_ONCE])
        more = len(found.faults) - SHOWN_AT_ONCE
        raise DraftFaulty(told + (f" And {more} more." if more > 0 else ""))
    return services.publish_survey(study=study, questionnaire=questionnaire, document=found.typed.document, actor=actor)


def copy_version(
    *, version: SurveyVersion, based_on: int | None, editor: User, actor: str, now: datetime
) -> SurveyDraft:
    """The text of a version as the newest draft, to go on from there."""
    return save_draft(
        study=version.study, questionnaire=version.questionnaire, text=written(version.document), based_on=based_on,
        editor=editor, actor=actor, now=now, source=f"copy of version {version.number}",
    )  # fmt: skip


def go_back(*, draft: SurveyDraft, based_on: int | None, editor: User, actor: str, now: datetime) -> SurveyDraft:
    """Undo: an older revision's text becomes the newest one. What lies between stays."""
    return save_draft(
        study=draft.study, questionnaire=draft.questionnaire, text=draft.text, based_on=based_on, editor=editor,
        actor=actor, now=now, source=f"revision {draft.number} again", lost=draft.lost,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line of two texts beside each other; where a side has none it is None."""

    left: str | None
    right: str | None
    same: bool


def side_by_side(left: str, right: str) -> list[Line]:
    """Two texts line by line, what is alike in one row."""
    ours, theirs = left.splitlines(), right.splitlines()
    rows: list[Line] = []
    for what, a, b, c, d in _matched(ours, theirs).get_opcodes():
        if what == "equal":
            rows += [Line(one, two, True) for one, two in zip(ours[a:b], theirs[c:d], strict=True)]
        else:
            pairs: list[tuple[Any, Any]] = [
                (ours[a + n] if a + n < b else None, theirs[c + n] if c + n < d else None)
                for n in range(max(b - a, d - c))
            ]
            rows += [Line(one, two, False) for one, two in pairs]
    return rows


@dataclass(frozen=True, slots=True)
class Merged:
    """Two texts made into one; where both changed the same lines both stand there, for a person to choose."""

    text: str
    clashes: int


def merged(base: str, mine: str, theirs: str) -> Merged:
    """What both added to a common text. Lines that both changed differently are kept twice, one after the other, between
    marks that are no JSON, so that nobody publishes them unseen."""
    base_lines, sides = base.splitlines(), (mine.splitlines(), theirs.splitlines())
    kept = [_kept(base_lines, side) for side in sides]
    stable = sorted(set(kept[0]) & set(kept[1]))
    out: list[str] = []
    clashes, at = 0, (0, 0, 0)
    for place in [*stable, len(base_lines)]:
        ends = (place, kept[0].get(place, len(sides[0])), kept[1].get(place, len(sides[1])))
        was, ours, other = base_lines[at[0] : ends[0]], sides[0][at[1] : ends[1]], sides[1][at[2] : ends[2]]
        if len(was) == len(ours) == len(other):  # neighbouring lines, each changed by one of the two
            parts = [([one], [two], [three]) for one, two, three in zip(was, ours, other, strict=True)]
        else:
            parts = [(was, ours, other)]
        for before, left, right in parts:
            if left in (right, before):
                out += right
            elif right == before:
                out += left
            else:
                clashes += 1
                out += ["<<<<<<< mine", *left, "=======", *right, ">>>>>>> theirs"]
        if place < len(base_lines):
            out.append(base_lines[place])
        at = (ends[0] + 1, ends[1] + 1, ends[2] + 1)
    return Merged("\n".join(out) + "\n", clashes)


def _kept(base: list[str], side: list[str]) -> dict[int, int]:
    """Each line of the base that a side kept: its place there → its place here."""
    blocks = _matched(base, side).get_matching_blocks()
    return {block.a + n: block.b + n for block in blocks for n in range(block.size)}


def _matched(left: list[str], right: list[str]) -> difflib.SequenceMatcher[str]:
    if len(left) + len(right) > MOST_LINES:  # no line is a landmark: alike is what they begin with
        return difflib.SequenceMatcher(lambda line: True, left, right)
    return difflib.SequenceMatcher(None, left, right, autojunk=len(left) + len(right) > MANY_LINES)
