"""Canter: a pre-fork application server for Python web applications."""

__version__ = "0.1.0"
