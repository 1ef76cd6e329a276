from django.urls import path

from ema_server.sampling.pages import WithdrawView

urlpatterns = [
    path("studies/<slug:slug>/participants/<int:pk>/withdraw/", WithdrawView.as_view(), name="withdraw"),
]
