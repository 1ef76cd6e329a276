from django.urls import path

from ema_server.studies.views import InvitationView, TeamView

urlpatterns = [
    path("studies/<slug:slug>/team/", TeamView.as_view(), name="team"),
    path("invitations/<str:token>/", InvitationView.as_view(), name="invitation"),
]
