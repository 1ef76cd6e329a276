"""The crisis card: whom somebody can turn to at once, in each language. Pure rules of what a card holds.

{"en": {"title": "You are not alone", "text": "…", "contacts": [{"label": "Samaritans", "phone": "116 123"},
                                                                 {"label": "Chat", "url": "https://…"}]}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_TITLE, MAX_TEXT, MAX_CONTACTS, MAX_LABEL = 200, 5_000, 20, 200
PARTS = {"title", "text", "contacts"}
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
PHONE = re.compile(r"\+?[0-9*#][0-9 ()./*#-]{1,30}")
URL = re.compile(r"https://[^\s/@\"'<>]+(/[^\s\"'<>]*)?")
MOST_LANGUAGES = 40


def card_faults(card: Any) -> list[str]:
    """What is wrong with a card, each fault with its place; nothing where it can be published."""
    if not isinstance(card, Mapping) or not card:
        return ['card: one entry for each language is meant, like {"en": {"title": "…", "text": "…", "contacts": []}}.']
    if len(card) > MOST_LANGUAGES:
        return [f"card: {len(card)} languages; at most {MOST_LANGUAGES}."]
    found = []
    for language, page in card.items():
        if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
            found.append(f"card: {str(language)[:20]!r} is no language; write a code like en, pt-BR or ar.")
        elif not isinstance(page, Mapping):
            found.append(f"{language}: an object with title, text and contacts is meant.")
        else:
            found += [f"{language}.{fault}" for fault in _page_faults(page)]
    return found


def contacts_of(lines: str) -> list[dict[str, str]]:
    """Contacts as people type them, one a line: `Samaritans: 116 123` or `Chat: https://example.org`."""
    found = []
    for line in filter(str.strip, lines.splitlines()):
        label, _, to = (part.strip() for part in line.partition(":"))
        found.append({"label": label, "url" if to.startswith("http") else "phone": to})
    return found


def as_lines(contacts: list[dict[str, str]]) -> str:
    return "\n".join(f"{each['label']}: {each.get('phone') or each.get('url')}" for each in contacts)


def _page_faults(page: Mapping[str, Any]) -> list[str]:
    found = [f"{str(key)[:40]}: unknown here; there are title, text and contacts." for key in page if key not in PARTS]
    found += _text_faults("title", page.get("title"), MAX_TITLE)
    found += _text_faults("text", page.get("text"), MAX_TEXT)
    contacts = page.get("contacts", [])
    if not isinstance(contacts, list) or len(contacts) > MAX_CONTACTS:
        return [*found, f"contacts: a list of at most {MAX_CONTACTS} is meant."]
    for place, contact in enumerate(contacts):
        at = f"contacts[{place}]"
        if not isinstance(contact, Mapping) or len(contact) != 2 or "label" not in contact:
            found.append(f'{at}: write {{"label": "…", "phone": "116 123"}} or {{"label": "…", "url": "https://…"}}.')
            continue
        found += _text_faults(f"{at}.label", contact["label"], MAX_LABEL)
        if "phone" in contact:
            if not isinstance(contact["phone"], str) or not PHONE.fullmatch(contact["phone"]):
                found.append(f"{at}.phone: {str(contact['phone'])[:40]!r} cannot be dialled; write one like +31 113.")
        elif not isinstance(contact.get("url"), str) or len(contact["url"]) > 500 or not URL.fullmatch(contact["url"]):
            found.append(
                f"{at}.url: {str(contact.get('url'))[:40]!r} is no address; write one like https://example.org."
            )
    return found


def _text_faults(place: str, text: Any, longest: int) -> list[str]:
    if not isinstance(text, str) or not text.strip() or len(text) > longest:
        return [f"{place}: must hold 1 to {longest:,} characters."]
    if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
        return [f"{place}: holds a character (NUL or half a surrogate pair) that no text has."]
    return []
