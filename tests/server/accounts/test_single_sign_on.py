"""Single sign-on opens accounts that exist, by an address that was vouched for, and makes none for the uninvited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers import registry
from django.test import Client, override_settings

from ema_server.accounts.models import User
from ema_server.common.single_sign_on import from_environment
from tests.server.accounts.providers import OidcProvider, SamlProvider
from tests.server.accounts.sign_on_urls import APPS
from tests.server.accounts.test_own_account import code, with_app
from tests.server.studies.test_team import invited
from tests.world import live_study, researcher

pytestmark = pytest.mark.django_db

ACS = "http://testserver/account/sso/saml/saml/acs/"
SP = "http://testserver/account/sso/saml/saml/metadata/"


class NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture
def oidc() -> Iterator[OidcProvider]:
    provider = OidcProvider()
    yield provider
    provider.close()


@pytest.fixture
def saml() -> SamlProvider:
    return SamlProvider()


@pytest.fixture
def switched_on(oidc: OidcProvider, saml: SamlProvider, tmp_path: Path, settings: Any) -> Iterator[None]:
    metadata = tmp_path / "idp.xml"
    metadata.write_text(saml.metadata)
    found = from_environment(
        {
            "EMA_OIDC_ISSUER": oidc.issuer,
            "EMA_OIDC_CLIENT_ID": "ema",
            "EMA_OIDC_CLIENT_SECRET": "secret",
            "EMA_OIDC_NAME": "University of Examples",
            "EMA_SAML_METADATA_FILE": str(metadata),
            "EMA_SAML_ENTITY_ID": saml.entity_id,
            "EMA_SAML_NAME": "Clinic",
        }
    )
    assert found.faults == []
    with override_settings(
        INSTALLED_APPS=[*settings.INSTALLED_APPS, *APPS],
        SINGLE_SIGN_ON=found,
        SOCIALACCOUNT_PROVIDERS=found.providers,
        ROOT_URLCONF="tests.server.accounts.sign_on_urls",
    ):
        registry.loaded = False
        registry.load()
        yield
    for app in ("openid_connect", "saml"):
        registry.provider_map.pop(app, None)


def by_oidc(provider: OidcProvider, client: Client, *, next_page: str = "/account/", **person: Any) -> Any:
    """Through the provider and back, as a browser goes."""
    claims = {"sub": "person-1", "email_verified": True, "name": "Somebody", **person}
    provider.person, provider.userinfo = {"sub": claims["sub"]}, claims
    start = client.get(f"/account/sso/oidc/login/?process=login&next={next_page}")
    assert start.status_code == 302
    try:
        build_opener(NoRedirect).open(start["Location"])
    except Exception as redirected:
        back = redirected.headers["Location"]  # type: ignore[attr-defined]
    parts = urlsplit(back)
    return client.get(f"{parts.path}?{parts.query}")


def by_saml(provider: SamlProvider, client: Client, email: str, **more: Any) -> Any:
    start = client.get("/account/sso/saml/saml/login/?process=login&next=/account/", headers={"Host": "testserver"})
    assert start["Location"].startswith(provider.sso_url)
    answer = provider.answer(start["Location"], email=email, **{"audience": SP, "acs": ACS, **more})
    posted = client.post("/account/sso/saml/saml/acs/", {"SAMLResponse": answer}, headers={"Host": "testserver"})
    return client.get(posted["Location"], headers={"Host": "testserver"})


def test_without_settings_there_is_no_route_and_no_button() -> None:
    assert "Continue with" not in Client().get("/login/").content.decode()
    for address in ("oidc/login/", "saml/saml/login/", "saml/saml/metadata/", "saml/saml/acs/", "error/"):
        assert Client().get(f"/account/sso/{address}").status_code == 404


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"EMA_OIDC_ISSUER": "https://idp.example.org"}, ["EMA_OIDC_CLIENT_ID", "EMA_OIDC_CLIENT_SECRET"]),
        ({"EMA_OIDC_NAME": "University"}, ["EMA_OIDC_ISSUER", "EMA_OIDC_CLIENT_ID", "EMA_OIDC_CLIENT_SECRET"]),
        ({"EMA_SAML_NAME": "Clinic"}, ["EMA_SAML_METADATA_URL and EMA_SAML_METADATA_FILE", "EMA_SAML_ENTITY_ID"]),
        ({"EMA_SAML_METADATA_URL": "https://a.example/m"}, ["EMA_SAML_ENTITY_ID"]),
        ({"EMA_SAML_METADATA_FILE": "/nowhere.xml", "EMA_SAML_ENTITY_ID": "a"}, ["EMA_SAML_METADATA_FILE"]),
        ({"EMA_SAML_METADATA_URL": "http://a.example/m", "EMA_SAML_ENTITY_ID": "a"}, ["EMA_SAML_METADATA_URL"]),
    ],
)
def test_partly_set_is_a_fault_that_names_what_is_missing(given: dict[str, str], named: list[str]) -> None:
    found = from_environment(given)
    assert [name for name, _, _ in found.faults] == named
    assert found.apps == []


@pytest.mark.usefixtures("switched_on")
def test_oidc_opens_the_account_of_a_verified_address(oidc: OidcProvider) -> None:
    owner = researcher()
    client = Client()
    assert "Continue with University of Examples" in client.get("/login/").content.decode()
    assert by_oidc(oidc, client, email=owner.email.upper())["Location"] == "/account/"
    assert owner.email in client.get("/account/").content.decode()
    owner.refresh_from_db()
    assert owner.check_password("correct horse battery"), "the password stays"
    assert not SocialAccount.objects.exists(), "nothing of the provider's is kept"


@pytest.mark.usefixtures("switched_on")
@pytest.mark.parametrize("verified", [False, "false", "true", None])
def test_an_address_that_nobody_vouches_for_opens_nothing(oidc: OidcProvider, verified: Any) -> None:
    owner = researcher()
    client = Client()
    page = by_oidc(oidc, client, email=owner.email, email_verified=verified)
    assert page.status_code == 403
    assert "did not vouch" in page.content.decode()
    assert client.get("/").status_code == 302


@pytest.mark.usefixtures("switched_on")
def test_userinfo_of_another_person_opens_nothing(oidc: OidcProvider) -> None:
    owner = researcher()
    client = Client()
    start = client.get("/account/sso/oidc/login/?process=login")
    oidc.person = {"sub": "person-1"}
    oidc.userinfo = {"sub": "person-2", "email": owner.email, "email_verified": True}
    try:
        build_opener(NoRedirect).open(start["Location"])
    except Exception as redirected:
        back = urlsplit(redirected.headers["Location"])  # type: ignore[attr-defined]
    assert client.get(f"{back.path}?{back.query}").status_code == 403


@pytest.mark.usefixtures("switched_on")
def test_the_uninvited_get_no_account(oidc: OidcProvider) -> None:
    page = by_oidc(oidc, Client(), email="stranger@example.org")
    assert page.status_code == 403
    assert "No account yet" in page.content.decode()
    assert not User.objects.filter(email="stranger@example.org").exists()


@pytest.mark.usefixtures("switched_on")
def test_the_invited_join_by_single_sign_on(oidc: OidcProvider) -> None:
    owner = researcher()
    study = live_study(owner)
    _, place = invited(study, owner, "new@example.org")
    client = Client()
    assert "Continue with University of Examples" in client.get(place).content.decode()
    other = by_oidc(oidc, client, email="other@example.org", next_page=place)
    assert other.status_code == 403, "the invitation is for its address alone"
    client.get(place)
    assert by_oidc(oidc, client, email="new@example.org", next_page=place)["Location"] == place
    assert "Join as Somebody" in client.get(place).content.decode()
    client.post(place)
    user = User.objects.get(email="new@example.org")
    assert not user.has_usable_password()
    assert study.memberships.filter(user=user, role="viewer").exists()


@pytest.mark.usefixtures("switched_on")
def test_a_closed_account_stays_closed_and_a_second_factor_is_asked_for(oidc: OidcProvider) -> None:
    owner = researcher()
    _, secret = with_app(owner)
    client = Client()
    assert by_oidc(oidc, client, email=owner.email)["Location"] == "/account/mfa/authenticate/"
    assert client.post("/account/mfa/authenticate/", {"code": code(secret)})["Location"] == "/account/"
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert by_oidc(oidc, Client(), email=owner.email)["Location"] == "/account/closed/"


@pytest.mark.usefixtures("switched_on")
def test_coming_back_without_the_state_of_this_session_opens_nothing(oidc: OidcProvider) -> None:
    owner = researcher()
    oidc.person = oidc.userinfo = {"sub": "1", "email": owner.email, "email_verified": True}
    page = Client().get("/account/sso/oidc/login/callback/?code=stolen&state=other")
    assert "Login did not work" in page.content.decode()


@pytest.mark.usefixtures("switched_on")
def test_a_signed_saml_answer_opens_the_account(saml: SamlProvider) -> None:
    owner = researcher()
    client = Client()
    assert by_saml(saml, client, owner.email)["Location"] == "/account/"
    assert owner.email in client.get("/account/").content.decode()
    metadata = client.get("/account/sso/saml/saml/metadata/", headers={"Host": "testserver"})
    assert ACS in metadata.content.decode()


@pytest.mark.usefixtures("switched_on")
@pytest.mark.parametrize("wrong", [{"signed": False}, {"audience": "https://other.example.org"}, {"acs": "http://x/"}])
def test_a_saml_answer_that_is_not_for_us_or_not_signed_opens_nothing(
    saml: SamlProvider, wrong: dict[str, Any]
) -> None:
    owner = researcher()
    client = Client()
    assert "Login did not work" in by_saml(saml, client, owner.email, **wrong).content.decode()
    assert client.get("/").status_code == 302


@pytest.mark.usefixtures("switched_on")
def test_a_saml_answer_signed_by_another_key_or_told_twice_opens_nothing(saml: SamlProvider) -> None:
    owner = researcher()
    client = Client()
    forger = SamlProvider()
    start = client.get("/account/sso/saml/saml/login/?process=login", headers={"Host": "testserver"})
    forged = forger.answer(start["Location"], email=owner.email, audience=SP, acs=ACS)
    right = saml.answer(start["Location"], email=owner.email, audience=SP, acs=ACS)
    for answer, works in ((forged, False), (right, True)):
        posted = client.post("/account/sso/saml/saml/acs/", {"SAMLResponse": answer}, headers={"Host": "testserver"})
        client.get(posted["Location"], headers={"Host": "testserver"})
        assert (client.get("/").status_code == 200) is works
    thief = Client()
    posted = thief.post("/account/sso/saml/saml/acs/", {"SAMLResponse": right}, headers={"Host": "testserver"})
    thief.get(posted["Location"], headers={"Host": "testserver"})
    assert thief.get("/").status_code == 302


def test_the_xml_libraries_are_loaded_only_where_saml_is_on() -> None:
    import subprocess
    import sys

    script = "import django, sys; django.setup(); import ema_server.urls; print('xmlsec' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
