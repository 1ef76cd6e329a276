from django.urls import path

from ema_server.rights.views import OwnDataView, PauseView, ResumeView, WithdrawView

urlpatterns = [
    path("pause", PauseView.as_view(), name="pause"),
    path("resume", ResumeView.as_view(), name="resume"),
    path("withdraw", WithdrawView.as_view(), name="leave"),
    path("me/export", OwnDataView.as_view(), name="own-data"),
]
