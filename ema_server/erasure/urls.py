from django.urls import path

from ema_server.erasure.views import CertificateView, EraseView

urlpatterns = [
    path("studies/<slug:slug>/participants/<int:pk>/erase/", EraseView.as_view(), name="erase"),
    path("studies/<slug:slug>/participants/<int:pk>/certificate/", CertificateView.as_view(), name="certificate"),
]
