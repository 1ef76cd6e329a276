from django.urls import path

from ema_server.reports.views import DryRunView, HomeView, ReportView

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("studies/<slug:slug>/report/", ReportView.as_view(), name="report"),
    path("studies/<slug:slug>/report/<int:run_id>/", ReportView.as_view(), name="report-run"),
    path("studies/<slug:slug>/schedule/dry-run/", DryRunView.as_view(), name="dry-run"),
]
