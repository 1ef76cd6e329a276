"""The mail server's address: read whole, or refused with a reason that shows no password."""

from __future__ import annotations

import pytest

from ema_server.common.mail_url import mail_settings


@pytest.mark.parametrize(
    ("url", "port", "tls", "ssl"),
    [
        ("smtp://ema:p%40ss@mail.example.org", 587, True, False),
        ("smtp://ema:p%40ss@mail.example.org:2525?tls=starttls", 2525, True, False),
        ("smtps://ema:p%40ss@mail.example.org", 465, False, True),
        ("smtp://ema:p%40ss@mail.example.org?tls=none", 25, False, False),
    ],
)
def test_an_address_becomes_settings(url: str, port: int, tls: bool, ssl: bool) -> None:
    found, wrong = mail_settings(url)
    assert wrong == ""
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example.org", port)
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (tls, ssl)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("ema", "p@ss")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://mail.example.org", "scheme"),
        ("smtp://", "no host"),
        ("smtp://mail.example.org:x", "port"),
        ("smtp://ema@mail.example.org", "password"),
        ("smtp://ema:secret@mail.example.org?tls=perhaps", "tls"),
        ("smtps://ema:secret@mail.example.org?tls=none", "tls"),
        ("smtp://ema:secret@mail.example.org?ssl=1", "option"),
    ],
)
def test_what_cannot_be_used_is_named_without_its_password(url: str, reason: str) -> None:
    found, wrong = mail_settings(url)
    assert found == {}
    assert reason in wrong
    assert "secret" not in wrong
