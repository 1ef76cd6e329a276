from django.urls import path

from ema_server.sampling.views import DeviceView, EnrolmentsView, PromptEventsView

urlpatterns = [
    path("enrolments", EnrolmentsView.as_view(), name="enrolments"),
    path("prompt-events", PromptEventsView.as_view(), name="prompt-events"),
    path("device", DeviceView.as_view(), name="device"),
]
