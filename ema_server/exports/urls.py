from django.urls import path

from ema_server.exports.views import CodebookView, DataView

urlpatterns = [
    path("studies/<slug:slug>/data/", DataView.as_view(), name="data"),
    path("studies/<slug:slug>/data/codebook/", CodebookView.as_view(), name="codebook"),
]
