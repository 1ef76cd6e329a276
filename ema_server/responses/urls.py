from django.urls import path

from ema_server.responses.views import ManifestView, SyncView, submissions

urlpatterns = [
    path("sync", SyncView.as_view(), name="sync"),
    path("submissions", submissions, name="submissions"),
    path("manifest", ManifestView.as_view(), name="manifest"),
]
