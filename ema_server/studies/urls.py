from django.urls import path

from ema_server.studies.views import AuditView

urlpatterns = [path("studies/<slug:slug>/audit/", AuditView.as_view(), name="audit")]
