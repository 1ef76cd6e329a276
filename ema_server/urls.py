"""Every address of the service."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path
from django.utils.module_loading import autodiscover_modules

from ema_server.accounts import operators
from ema_server.api_document import SchemaView
from ema_server.studies.questionnaire_views import SurveySchemaView

autodiscover_modules("admin")

api: list[URLPattern | URLResolver] = [
    path("", include("ema_server.participants.phone_urls")),
    path("", include("ema_server.sampling.urls")),
    path("", include("ema_server.responses.urls")),
    path("", include("ema_server.rights.urls")),
    path("survey-schema", SurveySchemaView.as_view(), name="survey-schema"),
    path("schema", SchemaView.as_view(), name="schema"),
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("", include("ema_server.operations.urls")),
    path("admin/", operators.site.urls),
    path("", include("ema_server.accounts.urls")),
    path("", include("ema_server.studies.urls")),
    path("", include("ema_server.participants.urls")),
    path("", include("ema_server.sampling.page_urls")),
    path("", include("ema_server.reports.urls")),
    path("", include("ema_server.exports.urls")),
    path("", include("ema_server.erasure.urls")),
]

handler400 = "ema_server.common.problems.bad_request"
handler403 = "ema_server.common.problems.permission_denied"
handler404 = "ema_server.common.problems.not_found"
handler500 = "ema_server.common.problems.server_error"
