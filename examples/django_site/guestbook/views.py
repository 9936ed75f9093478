"""The one page: what was written, and the form to write."""

from django import forms
from django.shortcuts import redirect, render

from guestbook.models import Entry

SHOWN = 50


class EntryForm(forms.ModelForm):
    class Meta:
        model = Entry
        fields = ("name", "message")


def book(request):
    form = EntryForm(request.POST or None)
    if form.is_valid():
        form.save()
        return redirect("book")
    return render(request, "guestbook/book.html", {"form": form, "entries": Entry.objects.all()[:SHOWN]})
