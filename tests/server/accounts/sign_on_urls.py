"""The service's addresses with both kinds of single sign-on switched on."""

from ema_server.accounts.urls import sign_on_routes
from ema_server.urls import handler400, handler403, handler404, handler500, urlpatterns

APPS = ["allauth.socialaccount.providers.openid_connect", "allauth.socialaccount.providers.saml"]
urlpatterns = [*sign_on_routes(APPS), *urlpatterns]
__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]
