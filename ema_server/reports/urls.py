from django.urls import path

from ema_server.reports.views import HomeView, ReportView

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("studies/<slug:slug>/report/", ReportView.as_view(), name="report"),
    path("studies/<slug:slug>/report/<int:run_id>/", ReportView.as_view(), name="report-run"),
]
