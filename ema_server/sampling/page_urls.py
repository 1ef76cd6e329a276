from django.urls import path

from ema_server.sampling.pages import PauseView, WithdrawView
from ema_server.sampling.schedule_views import PersonScheduleView, ScheduleView

urlpatterns = [
    path("studies/<slug:slug>/schedule/", ScheduleView.as_view(), name="schedule"),
    path("studies/<slug:slug>/participants/<int:pk>/schedule/", PersonScheduleView.as_view(), name="person-schedule"),
    path("studies/<slug:slug>/participants/<int:pk>/withdraw/", WithdrawView.as_view(), name="withdraw"),
    path("studies/<slug:slug>/participants/<int:pk>/pause/", PauseView.as_view(), name="pause-person"),
]
