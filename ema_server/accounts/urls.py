"""Every address about accounts. allauth's views are mounted one by one: what is not here does not exist."""

from __future__ import annotations

from allauth.account import views as account
from allauth.socialaccount import views as sign_on
from django.conf import settings
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

if settings.SINGLE_SIGN_ON.apps:
    urlpatterns += [
        path("account/sso/cancelled/", sign_on.login_cancelled, name="socialaccount_login_cancelled"),
        path("account/sso/error/", sign_on.login_error, name="socialaccount_login_error"),
    ]
for provider in settings.SINGLE_SIGN_ON.apps:
    urlpatterns.append(path("account/sso/", include(f"{provider}.urls")))
