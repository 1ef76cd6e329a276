from django.urls import path

from ema_server.studies.questionnaire_views import (
    DocumentView,
    DraftBesideView,
    PublishView,
    QuestionnairesView,
    QuestionnaireView,
)
from ema_server.studies.setup_views import SetupView
from ema_server.studies.views import AuditView, InvitationView, TeamView

_ONE = "studies/<slug:slug>/questionnaires/<slug:questionnaire>/"
urlpatterns = [
    path("studies/<slug:slug>/setup/", SetupView.as_view(), name="setup"),
    path("studies/<slug:slug>/questionnaires/", QuestionnairesView.as_view(), name="questionnaires"),
    path(_ONE, QuestionnaireView.as_view(), name="questionnaire"),
    path(f"{_ONE}publish/", PublishView.as_view(), name="publish-questionnaire"),
    path(f"{_ONE}document/", DocumentView.as_view(), name="questionnaire-document"),
    path(f"{_ONE}beside/<int:number>/", DraftBesideView.as_view(), name="draft-beside"),
    path("studies/<slug:slug>/team/", TeamView.as_view(), name="team"),
    path("studies/<slug:slug>/audit/", AuditView.as_view(), name="audit"),
    path("invitations/<str:token>/", InvitationView.as_view(), name="invitation"),
]
