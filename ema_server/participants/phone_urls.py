from django.urls import path

from ema_server.participants.phone_views import ConsentsView

urlpatterns = [path("consents", ConsentsView.as_view(), name="consents")]
