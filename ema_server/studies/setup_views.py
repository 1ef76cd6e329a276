"""The page on which owners run their study: its state, days, parts and consent texts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.studies import crisis, queries, services, states
from ema_server.studies.models import Study
from ema_server.studies.pages import StudyPage
from ema_server.studies.structure import PARTS
from ema_server.surveys.texts import direction

DATES = ("starts_on", "ends_on", "keep_until")
EMPTY_LANGUAGES = 2  # rows for further languages in the form of a consent text


class SetupView(StudyPage):
    """What the study is, what its state allows, and what may be changed about it. For owners."""

    permission = "studies.manage_study"
    template_name = "studies/setup.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        study = self.study
        texts = queries.consent_texts(study)
        given = more.get("given") or {}
        return super().get_context_data(
            ways=[
                {
                    "to": to,
                    "verb": states.TRANSITIONS[study.state, to],
                    "means": states.MEANS[to],
                    "needs_reason": (study.state, to) in states.NEEDS_REASON,
                    "locks": to == states.LOCKED,
                }
                for to in states.following(study.state)
            ],
            actions=[(action.words, states.refusal(study.state, key)) for key, action in states.ACTIONS.items()],
            in_words=states.in_words(study.state),
            states=states.STATES,
            whole_table=[
                (action.words, [state in action.states for state in states.STATES])
                for action in states.ACTIONS.values()
            ],
            may={key: states.allows(study.state, key) for key in states.ACTIONS},
            dates={name: given.get(name, str(getattr(study, name) or "")) for name in DATES},
            parts=[(part, given.get(part, _as_lines(study.structure.get(part, [])))) for part in PARTS],
            cards=[(card, _pages(card.card)) for card in queries.crisis_cards(study)],
            card_missing=queries.alerts_without_card(study),
            consents=[(text, _in_directions(text.texts)) for text in texts],
            rows=_language_rows(given, texts[0].texts if texts else {"en": ""}),
            people=queries.people_counts(study),
            practice=queries.practice_rules(study),
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            if request.POST.get("do") == "preview":
                preview = _in_directions(_texts(request.POST))
                return self.render_to_response(self.get_context_data(given=request.POST, preview=preview))
            said = self._do(request.POST.get("do", ""))
        except DomainError as error:
            self.study.refresh_from_db()
            context = self.get_context_data(fault=error.detail, given=request.POST)
            return self.render_to_response(context, status=error.status)
        messages.info(request, said)
        return redirect("setup", self.study.slug)

    def _do(self, what: str) -> str:
        given, actor = self.request.POST, self.researcher.audit_name
        if what == "state":
            to, reason = given.get("to", ""), given.get("reason", "")[:2000]
            if to == states.LOCKED and "sure" not in given:
                raise services.NotConfirmed("Nothing was changed: tick the box to lock the data for ever.")
            services.change_state(study=self.study, to=to, actor=actor, now=clock.now(), reason=reason)
            return f"The study {states.in_words(self.study.state)}."
        if what == "dates":
            facts = {name: _day(name, given[name]) for name in DATES if name in given}
            zone = {"zone": given["zone"].strip()} if "zone" in given else {}
            changed = services.change_dates(study=self.study, actor=actor, **facts, **zone)
            if "ends_on" in changed and (people := queries.other_last_days(self.study)):
                return f"Saved. {people} who are in keep their own last day; manage.py change_schedule moves it."
            return "Saved." if changed else "Nothing was different."
        if what == "structure":
            structure = {part: _from_lines(given.get(part, "")) for part in PARTS}
            services.change_structure(study=self.study, structure=structure, actor=actor)
            return "Saved: arms, sites and roles are as you wrote them."
        if what == "consent":
            text = services.publish_consent_text(
                study=self.study, texts=_texts(given), actor=actor, must_consent_anew="anew" in given
            )
            return f"Version {text.number} of the consent text holds now."
        if what == "card":
            card = services.publish_crisis_card(study=self.study, card=_card(self.study, given), actor=actor)
            return f"Version {card.number} of the crisis card holds now."
        raise Http404


def _day(name: str, text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise services.InvalidDates(f"{name}: {text[:40]!r} is no date; write one like 2026-03-02.") from None


def _pages(card: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any], str]]:
    """Each language of a card: its code, direction, page, and its contacts as lines."""
    return [(code, direction(code), page, crisis.as_lines(page.get("contacts", []))) for code, page in card.items()]


def _card(study: Study, given: Mapping[str, str]) -> dict[str, Any]:
    """The current card with the language of the form put in, or taken out where the form says nothing in it."""
    current = queries.current_crisis_card(study)
    card = dict(current.card) if current else {}
    language = given.get("card_language", "").strip()
    title, text = (given.get(name, "").replace("\r\n", "\n").strip() for name in ("card_title", "card_text"))
    contacts = crisis.contacts_of(given.get("card_contacts", ""))
    if title or text or contacts:
        card[language] = {"title": title, "text": text, **({"contacts": contacts} if contacts else {})}
    else:
        card.pop(language, None)
    return card


def _as_lines(entries: list[dict[str, str]]) -> str:
    return "\n".join(f"{entry['key']}: {entry['title']}" if entry.get("title") else entry["key"] for entry in entries)


def _from_lines(text: str) -> list[dict[str, str]]:
    pairs = [line.partition(":") for line in text.splitlines() if line.strip()]
    return [{"key": key.strip(), **({"title": title.strip()} if title.strip() else {})} for key, _, title in pairs]


def _texts(given: Mapping[str, str]) -> dict[str, str]:
    """The texts of the form, by language; rows that were left empty are none. A language given twice is told."""
    texts: dict[str, str] = {}
    for row in range(services.MAX_LANGUAGES + EMPTY_LANGUAGES):
        language, text = given.get(f"language{row}", "").strip(), given.get(f"text{row}", "").replace("\r\n", "\n")
        if language in texts and text.strip():
            raise services.InvalidConsentText(f"texts: {language[:20]!r} is there twice.")
        if text.strip():
            texts[language] = text
    return texts


def _in_directions(texts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(language, direction(language), text) for language, text in texts.items()]


def _language_rows(given: Mapping[str, str], texts: Mapping[str, str]) -> list[tuple[int, str, str, str]]:
    """The form's rows: number, language, text, direction."""
    rows = list(texts.items())
    if "language0" in given:
        count = sum(f"language{row}" in given for row in range(services.MAX_LANGUAGES + EMPTY_LANGUAGES))
        rows = [(given.get(f"language{row}", ""), given.get(f"text{row}", "")) for row in range(count)]
    else:
        rows += [("", "")] * EMPTY_LANGUAGES
    return [(place, language, text, direction(language)) for place, (language, text) in enumerate(rows)]
