from django.urls import path

from ema_server.participants.code_views import CodesView, InviteView, JoinView
from ema_server.participants.views import IdentityView, ParticipantsView, ParticipantView, PersonTableView

urlpatterns = [
    path("join", JoinView.as_view(), name="join"),
    path("studies/<slug:slug>/codes/", CodesView.as_view(), name="codes"),
    path("studies/<slug:slug>/participants/invite/", InviteView.as_view(), name="invite"),
    path("studies/<slug:slug>/people-data/", PersonTableView.as_view(), name="people-data"),
    path("studies/<slug:slug>/participants/", ParticipantsView.as_view(), name="participants"),
    path("studies/<slug:slug>/participants/<int:pk>/", ParticipantView.as_view(), name="participant"),
    path("studies/<slug:slug>/participants/<int:pk>/identity/", IdentityView.as_view(), name="identity"),
]
