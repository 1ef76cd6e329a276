from django.urls import path

from ema_server.responses.views import ManifestView, SubmissionsView, SyncView

urlpatterns = [
    path("sync", SyncView.as_view(), name="sync"),
    path("submissions", SubmissionsView.as_view(), name="submissions"),
    path("manifest", ManifestView.as_view(), name="manifest"),
]
