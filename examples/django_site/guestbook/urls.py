"""The guest book, its admin, and the static files of both."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import path

from guestbook.views import book

urlpatterns = [
    path("", book, name="book"),
    path("admin/", admin.site.urls),
    # Static files from the application, so that the example is one command. A site with
    # visitors has them collected and served by a web server, or by WhiteNoise.
    path("static/<path:path>", serve, {"insecure": True}),
]
