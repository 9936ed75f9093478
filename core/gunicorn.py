"""Gunicorn's words that are not Canter's own, and what becomes of them.

``WORKER_CLASSES``: names of worker classes that Gunicorn's users type, and ours
for the same. Then two tables of settings. ``REFUSED``: settings about security; where one asks for something,
the server does not start, for it must never serve in the clear what was asked to
be encrypted, nor take a proxy's word in a protocol it does not read. ``ABSENT``:
the rest; a Python settings file may name them (one warning line says which),
anywhere else they are an error.
"""

from __future__ import annotations

from typing import NamedTuple

from canter.errors import ConfigError

WORKER_CLASSES = {
    "asgi": "asyncio",
    "gevent_pywsgi": "gevent",
    "gevent_wsgi": "gevent",
    "gunicorn.workers.gasgi.ASGIWorker": "asyncio",
    "gunicorn.workers.geventlet.EventletWorker": "eventlet",
    "gunicorn.workers.ggevent.GeventPyWSGIWorker": "gevent",
    "gunicorn.workers.ggevent.GeventWorker": "gevent",
    "gunicorn.workers.gthread.ThreadWorker": "gthread",
    "gunicorn.workers.gtornado.TornadoWorker": "tornado",
    "gunicorn.workers.sync.SyncWorker": "sync",
    "uvicorn.workers.UvicornH11Worker": "asyncio",
    "uvicorn.workers.UvicornWorker": "asyncio",
    "uvicorn_worker.UvicornH11Worker": "asyncio",
    "uvicorn_worker.UvicornWorker": "asyncio",
}


def worker_class(name: str) -> str | None:
    """Our name for a worker class that Gunicorn's users know by another."""
    short = name.removeprefix("egg:gunicorn#")
    known = WORKER_CLASSES.get(short.replace(":", "."))
    return known or (short if short != name else None)


class Refused(NamedTuple):
    what: str
    flag: str
    harmless: tuple[object, ...]  # values that ask for nothing


_TLS = "TLS is not built yet: let a proxy in front of Canter encrypt"
_OFF: tuple[object, ...] = (None, "", False)

REFUSED = {
    "certfile": Refused(_TLS, "--certfile", _OFF),
    "keyfile": Refused(_TLS, "--keyfile", _OFF),
    "ca_certs": Refused(_TLS, "--ca-certs", _OFF),
    "cert_reqs": Refused(_TLS, "--cert-reqs", (*_OFF, 0)),
    "ciphers": Refused(_TLS, "--ciphers", _OFF),
    "ssl_version": Refused(_TLS, "--ssl-version", _OFF),
    "ssl_context": Refused(_TLS, "", _OFF),
    "proxy_protocol": Refused("the PROXY protocol is not built yet", "--proxy-protocol", (*_OFF, "off")),
    "protocol": Refused("no protocol but HTTP is spoken", "--protocol", (*_OFF, "http")),
}

ABSENT = {
    "asgi_disconnect_grace_period": "--asgi-disconnect-grace-period",
    "casefold_http_method": "--casefold-http-method",
    "control_socket": "--control-socket",
    "control_socket_disable": "--no-control-socket",
    "control_socket_mode": "--control-socket-mode",
    "default_proc_name": "",
    "dirty_apps": "--dirty-app",
    "dirty_graceful_timeout": "--dirty-graceful-timeout",
    "dirty_post_fork": "",
    "dirty_threads": "--dirty-threads",
    "dirty_timeout": "--dirty-timeout",
    "dirty_worker_exit": "",
    "dirty_worker_init": "",
    "dirty_workers": "--dirty-workers",
    "disable_redirect_access_to_syslog": "--disable-redirect-access-to-syslog",
    "do_handshake_on_connect": "--do-handshake-on-connect",
    "dogstatsd_tags": "--dogstatsd-tags",
    "enable_backlog_metric": "--enable-backlog-metric",
    "enable_stdio_inheritance": "-R --enable-stdio-inheritance",
    "header_map": "--header-map",
    "http2_cleartext": "--http2-cleartext",
    "http2_initial_window_size": "--http2-initial-window-size",
    "http2_max_concurrent_streams": "--http2-max-concurrent-streams",
    "http2_max_frame_size": "--http2-max-frame-size",
    "http2_max_header_list_size": "--http2-max-header-list-size",
    "http_parser": "--http-parser",
    "http_protocols": "--http-protocols",
    "logconfig": "--log-config",
    "logconfig_dict": "",
    "logconfig_json": "--log-config-json",
    "logger_class": "--logger-class",
    "on_dirty_starting": "",
    "paste": "--paste --paster",
    "permit_obsolete_folding": "--permit-obsolete-folding",
    "permit_unconventional_http_method": "--permit-unconventional-http-method",
    "permit_unconventional_http_version": "--permit-unconventional-http-version",
    "proxy_allow_ips": "--proxy-allow-from",
    "raw_paste_global_conf": "--paste-global",
    "reload_engine": "--reload-engine",
    "sendfile": "--no-sendfile",
    "spew": "--spew",
    "statsd_host": "--statsd-host",
    "statsd_prefix": "--statsd-prefix",
    "strip_header_spaces": "--strip-header-spaces",
    "suppress_ragged_eofs": "--suppress-ragged-eofs",
    "syslog": "--log-syslog",
    "syslog_addr": "--log-syslog-to",
    "syslog_facility": "--log-syslog-facility",
    "syslog_prefix": "--log-syslog-prefix",
    "tmp_upload_dir": "",
    "uwsgi_allow_ips": "--uwsgi-allow-from",
}

_FLAGS = {
    flag: "Gunicorn has this option, Canter has not" for flags in ABSENT.values() for flag in flags.split()
} | {refused.flag: refused.what for refused in REFUSED.values()}


def check(name: str, value: object, place: str) -> None:
    """Raise where ``name`` is a security setting that asks for what is not built."""
    refused = REFUSED.get(name)
    if refused and not any(value is calm or value == calm for calm in refused.harmless):
        raise ConfigError(f"{place}: {refused.what}")


def explain_flag(flag: str) -> str | None:
    """The line for a flag that Gunicorn has and Canter has not."""
    told = _FLAGS.get(flag)
    return f"{flag}: {told}" if told else None
