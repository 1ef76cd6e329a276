from django.urls import path

from ema_server.operations import views

urlpatterns = [
    path("livez", views.live, name="live"),
    path("readyz", views.ready, name="ready"),
    path("metrics", views.measurements, name="metrics"),
]
