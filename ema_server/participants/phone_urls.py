from django.urls import path

from ema_server.participants.phone_views import (
    ConsentsView,
    CredentialView,
    DeviceReportsView,
    PreviewView,
    SuccessorCodeView,
)

urlpatterns = [
    path("consents", ConsentsView.as_view(), name="consents"),
    path("enrolments/preview", PreviewView.as_view(), name="enrolment-preview"),
    path("device/credential", CredentialView.as_view(), name="device-credential"),
    path("device/successor-code", SuccessorCodeView.as_view(), name="successor-code"),
    path("device-reports", DeviceReportsView.as_view(), name="device-reports"),
]
