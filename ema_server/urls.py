"""Every address of the service."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.utils.module_loading import autodiscover_modules
from drf_spectacular.views import SpectacularAPIView

from ema_server.accounts import operators

autodiscover_modules("admin")


def healthz(request: HttpRequest) -> HttpResponse:
    """200 while this process can reach the database; an outage answers 503 by the middleware."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


api: list[URLPattern | URLResolver] = [
    path("", include("ema_server.sampling.urls")),
    path("", include("ema_server.responses.urls")),
    path("schema", SpectacularAPIView.as_view(authentication_classes=(), permission_classes=()), name="schema"),
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("healthz", healthz, name="healthz"),
    path("admin/", operators.site.urls),
    path("", include("ema_server.accounts.urls")),
    path("", include("ema_server.studies.urls")),
    path("", include("ema_server.reports.urls")),
]
