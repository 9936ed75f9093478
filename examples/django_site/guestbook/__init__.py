"""A guest book: a small Django project that is its own application.

python examples/django_site/manage.py migrate
python examples/django_site/manage.py createsuperuser     # for its admin
canter --chdir examples/django_site guestbook.wsgi
"""
