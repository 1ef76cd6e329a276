from django.urls import path

from ema_server.responses.views import SubmissionsView, SyncView

urlpatterns = [
    path("sync", SyncView.as_view(), name="sync"),
    path("submissions", SubmissionsView.as_view(), name="submissions"),
]
