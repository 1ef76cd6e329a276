"""Every address about accounts. allauth's views are mounted one by one: what is not here does not exist."""

from __future__ import annotations

from allauth.account import views as account
from allauth.socialaccount import views as sign_on
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from ema_server.accounts.views import AccountView, end_session

password: list[URLPattern | URLResolver] = [
    path("", account.password_change, name="account_change_password"),
    path("set/", RedirectView.as_view(pattern_name="account_reset_password"), name="account_set_password"),
    path("reset/", account.password_reset, name="account_reset_password"),
    path("reset/sent/", account.password_reset_done, name="account_reset_password_done"),
    path("reset/done/", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path("reset/<str:uidb36>/<str:key>/", account.password_reset_from_key, name="account_reset_password_from_key"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", account.login, name="login"),
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="logout"),
    path("logout/", account.logout, name="account_logout"),
    path("account/", AccountView.as_view(), name="account"),
    path("account/closed/", account.account_inactive, name="account_inactive"),
    path("account/confirm/", account.reauthenticate, name="account_reauthenticate"),
    path("account/password/", include(password)),
    path("account/mfa/", include("allauth.mfa.urls")),
    path("account/sessions/", include("allauth.usersessions.urls")),
    path("account/sessions/<int:session_id>/end/", end_session, name="end-session"),
]


def sign_on_routes(apps: list[str]) -> list[URLPattern | URLResolver]:
    """The routes of the ways of single sign-on that are switched on; none where there is none."""
    routes: list[URLPattern | URLResolver] = []
    if apps:
        routes += [
            path("account/sso/cancelled/", sign_on.login_cancelled, name="socialaccount_login_cancelled"),
            path("account/sso/error/", sign_on.login_error, name="socialaccount_login_error"),
        ]
    if "allauth.socialaccount.providers.saml" in apps:
        from allauth.socialaccount.providers.saml import views as saml  # loads the XML libraries

        here = "account/sso/<slug:organization_slug>/"
        routes += [
            path(f"{here}saml/login/", saml.login, name="saml_login"),
            path(f"{here}saml/acs/", saml.acs, name="saml_acs"),
            path(f"{here}saml/acs/finish/", saml.finish_acs, name="saml_finish_acs"),
            path(f"{here}saml/metadata/", saml.metadata, name="saml_metadata"),
            path(f"{here}saml/logout/", saml_logout, name="saml_sls"),
        ]
    if "allauth.socialaccount.providers.openid_connect" in apps:
        from allauth.socialaccount.providers.openid_connect import views as oidc

        here = "account/sso/<slug:provider_id>/"
        routes += [
            path(f"{here}login/", oidc.login, name="openid_connect_login"),
            path(f"{here}login/callback/", oidc.callback, name="openid_connect_callback"),
        ]
    return routes


def saml_logout(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """The institution wants its people logged out: ask them, since such a request need not be signed."""
    return redirect("logout")


urlpatterns += sign_on_routes(settings.SINGLE_SIGN_ON.apps)
