"""What a code leads to, before anybody enrols with it. Nothing is spent and nothing is written."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from django_scopes import scope, scopes_disabled

from ema_server.common.openapi import said
from ema_server.participants.models import Device, EnrolmentCode, Participant
from ema_server.participants.services import GONE, NOT_VALID, CodeNotValid, digest_of_code, maker_is_open
from ema_server.studies import states
from ema_server.studies.queries import current_consent_text, current_surveys


class StudyShown(msgspec.Struct, frozen=True):
    slug: str
    title: str
    description: str
    starts_on: str
    ends_on: str
    languages: Annotated[
        list[str], said("of its consent text and questionnaires; empty where all texts have one language")
    ]


class ConsentShown(msgspec.Struct, frozen=True):
    """What the person agrees to by enrolling. `POST enrolments` takes this version, and the digest if it is sent."""

    version: str
    digest: str
    texts: Annotated[dict[str, str], said("by language")]


class EnrolmentPreview(msgspec.Struct, frozen=True):
    study: StudyShown
    consent: Annotated[ConsentShown | None, said("null: the study keeps its consent text elsewhere; send any version")]
    test: Annotated[bool, said("a test participant, who is never counted")]
    replaces_phone: Annotated[bool, said("the person has a phone already, which enrolling with this code closes")]


def preview_enrolment(*, code: str, now: datetime) -> EnrolmentPreview:
    """Raises CodeNotValid for a code that is unknown, used up, expired or closed: one answer for all."""
    with scopes_disabled():  # which study it is, is what the code tells
        found = EnrolmentCode.objects.select_related("study", "participant").filter(digest=digest_of_code(code)).first()
        if found is None or not found.open_at(now) or not maker_is_open(found):
            raise CodeNotValid(NOT_VALID)
    study, person = found.study, found.participant
    test = person is not None and person.test_person
    states.require(study.state, "enrol_test" if test else "enrol")
    if person is not None and person.state in {Participant.State.WITHDRAWN, Participant.State.ERASED}:
        raise states.StudyClosed(GONE)
    with scope(study=study):
        text = current_consent_text(study)
        spoken = list(text.texts) if text else []
        spoken += [each for version in current_surveys(study) for each in version.survey.languages]
        return EnrolmentPreview(
            study=StudyShown(
                slug=study.slug,
                title=study.title,
                description=study.description,
                starts_on=study.starts_on.isoformat(),
                ends_on=study.ends_on.isoformat(),
                languages=list(dict.fromkeys(spoken)),
            ),
            consent=ConsentShown(text.version, text.digest, text.texts) if text else None,
            test=test,
            replaces_phone=person is not None
            and Device.objects.filter(participant=person, revoked_at__isnull=True).exists(),
        )
