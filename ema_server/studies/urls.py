from django.urls import path

from ema_server.studies.setup_views import SetupView
from ema_server.studies.views import AuditView, InvitationView, TeamView

urlpatterns = [
    path("studies/<slug:slug>/setup/", SetupView.as_view(), name="setup"),
    path("studies/<slug:slug>/team/", TeamView.as_view(), name="team"),
    path("studies/<slug:slug>/audit/", AuditView.as_view(), name="audit"),
    path("invitations/<str:token>/", InvitationView.as_view(), name="invitation"),
]
