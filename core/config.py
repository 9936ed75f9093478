"""Every setting of the server, each declared once, and ``Config``, their values.

A declaration below is all that is ever written about a setting: its flags, kind,
default, unit, help and the reason for the default. The flag, the variable
``CANTER_<NAME>``, the key in a file, the check of a value, ``--help`` and
``docs/settings.md`` are derived from it. Names are Gunicorn's wherever Gunicorn
has the setting, and mean the same.

A ``Config`` is data: it never changes, reads no environment by itself, compares
by its values and pickles where its hooks do. ``Config(keepalive=5)`` is all the
defaults and the given values; ``Config.load`` reads the sources (``sources.py``),
and ``config.reread()`` reads the same ones again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from canter import gunicorn, kinds
from canter.errors import ConfigError
from canter.kinds import Kind, Shortened, WorkerCount, hook, integer, optional
from canter.spelling import meant

if TYPE_CHECKING:
    from canter.sources import Origin

T = TypeVar("T")

APPLICATION = "Application"
LISTENING = "Listening"
WORKERS = "Workers"
TIME = "Time limits"
RELOADING = "Start, reload and stop"
LIMITS = "Limits of a request"
WEBSOCKET = "WebSocket"
PROXY = "Behind a proxy"
LOGGING = "Logging"
PROCESS = "Process"
DEVELOPMENT = "Development"
HOOKS = "Server hooks"


GIVEN = "given in code"


class Note(NamedTuple):
    """A line for the error log: ``level`` is ``info`` or ``warning``."""

    level: str
    text: str


@dataclass(frozen=True, eq=False)
class Setting(Generic[T]):
    """One setting. As an attribute of ``Config`` it is the declaration; of an instance, the value.

    It only defines ``__get__``: the value itself stands in the instance's
    ``__dict__`` under the same name, so that reading it costs nothing.
    """

    section: str
    kind: Kind[T]
    default: T
    help: str
    flags: tuple[str, ...] = ()
    unit: str = ""
    zero: str = ""  # what 0 means, where it is special
    why: str = ""
    note: str = ""  # more than the help line has room for, for the page of settings
    brief: bool = False  # shown by --help; the others by --help-all
    aliases: tuple[str, ...] = ()  # other names in a file: Gunicorn's for the same thing
    default_from: tuple[str, str] | None = None  # (variable, its place in the value) that changes the default
    name: str = field(default="", init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Config, owner: type) -> T: ...
    def __get__(self, instance: Config | None, owner: type) -> Setting[T] | T:
        return self if instance is None else self.default

    @property
    def env(self) -> str:
        """The variable that sets it; none for what is not text."""
        return f"CANTER_{self.name.upper()}" if self.kind.text else ""

    def parse(self, value: object, place: str) -> T:
        """``value`` as this setting's kind; a one-line ConfigError that begins with ``place``."""
        try:
            return self.kind.parse(value)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None


class Config:
    """The values of all settings. Attributes are read-only; ``replace`` makes another."""

    # A table, kept by hand: an entry is a few lines, not one line an argument.
    # fmt: off

    # -- Application --

    wsgi_app = Setting(
        APPLICATION, kinds.APPLICATION, None,
        "the application: module, module:name or module:factory()",
        note="The positional argument APP_MODULE; a file may name it instead. Without a name after the "
        "module, `application`, then `app`, then the only callable `create_app` or `make_app` is taken.",
    )
    config = Setting(
        APPLICATION, optional(kinds.FILE), None,
        "settings file: Gunicorn's Python form, or TOML", ("-c", "--config"), brief=True,
        note="`PATH`, `file:PATH` or `python:MODULE`. Without it `gunicorn.conf.py` in the current "
        "directory is read where there is one.",
    )
    chdir = Setting(
        APPLICATION, kinds.DIRECTORY, "",
        "work in this directory and import from it", ("--chdir",), brief=True,
        why="the directory the server was started in, as in Gunicorn",
    )
    pythonpath = Setting(
        APPLICATION, kinds.TEXT, "",
        "more directories to import from, separated by commas", ("--pythonpath",),
    )
    raw_env = Setting(
        APPLICATION, kinds.VARIABLES, [],
        "set a variable for the application (repeatable)", ("-e", "--env"), brief=True,
        note="Set in the workers only.",
    )
    script_name = Setting(
        APPLICATION, kinds.TEXT, "",
        "path the application is mounted at (SCRIPT_NAME, root_path)", ("--script-name", "--root-path"),
        aliases=("root_path",), default_from=("SCRIPT_NAME", "{}"),
        note="`--env SCRIPT_NAME=/path` says the same, as Gunicorn's users write it.",
    )
    interface = Setting(
        APPLICATION, kinds.choice("auto", "wsgi", "asgi"), "auto",
        "how the application is called", ("--interface",),
        why="the application's own shape tells; set it where a wrapper hides that shape",
    )
    preload_app = Setting(
        APPLICATION, kinds.SWITCH, False,
        "import the application once, then fork workers", ("--preload",), brief=True,
        why="as in Gunicorn: a reload then brings new code, and a broken import one worker's loss",
    )

    # -- Listening --

    bind = Setting(
        LISTENING, kinds.ADDRESSES, ["127.0.0.1:8000"],
        "listen at HOST:PORT, :PORT, [::1]:PORT, unix:PATH or fd://N (repeatable)",
        ("-b", "--bind"), brief=True, default_from=("PORT", "0.0.0.0:{}"),
        why="Gunicorn's: reachable from this machine only until said otherwise",
    )
    backlog = Setting(
        LISTENING, integer(1), 2048,
        "connections the kernel keeps waiting", ("--backlog",),
        why="Gunicorn's; nginx has 511, the kernel caps it at net.core.somaxconn (4096)",
    )
    reuse_port = Setting(
        LISTENING, kinds.SWITCH, False,
        "one listening socket a worker (SO_REUSEPORT)", ("--reuse-port",),
        why="one shared queue wastes no connection on a busy worker",
    )
    defer_accept = Setting(
        LISTENING, kinds.SWITCH, True,
        "have workers take a connection at once, not when its first octets come", ("--no-defer-accept",),
        why="Apache's (TCP_DEFER_ACCEPT, Linux): no worker wakes up for a connection that says nothing yet",
        note="Without that flag the kernel holds a connection back until octets come, a second at most.",
    )
    admin = Setting(
        LISTENING, optional(kinds.ADDRESS), None,
        "where the master answers /livez and /readyz", ("--admin",), brief=True,
        why="off: what is not asked for listens nowhere",
    )

    # -- Workers --

    workers = Setting(
        WORKERS, kinds.WORKERS, WorkerCount(1),
        "processes: a number, auto, or a range 2-8",
        ("-w", "--workers"), brief=True, default_from=("WEB_CONCURRENCY", "{}"),
        why="Gunicorn's; how many an application's memory allows is for its owner to say",
        note="`auto` is 2 x cores + 1, where cores are those of the control group's CPU quota, rounded up, "
        "else those the process may run on. With a range the number follows the load between both.",
    )
    worker_class = Setting[str | type](
        WORKERS, kinds.WORKER_CLASS, "sync",
        "kind of worker: sync, gthread, gevent, asyncio, tornado, eventlet or module:Class",
        ("-k", "--worker-class"), brief=True,
        why="Gunicorn's; it asks nothing of the application",
        note="A name of the table in docs/workers.md, an entry point of the group `canter.workers`, or a "
        "class of your own. Names that Gunicorn's users know, such as "
        "`uvicorn.workers.UvicornWorker`, are understood.",
    )
    threads = Setting(
        WORKERS, integer(1), 1,
        "threads for the application in a worker", ("--threads",), brief=True,
        why="Gunicorn's; more than one asks for thread-safe code. With `sync` it means `gthread`.",
        note="The pool of `gthread`, and of `asyncio` for a WSGI application.",
    )
    worker_connections = Setting(
        WORKERS, integer(1), 1000,
        "connections a worker holds at most", ("--worker-connections",), brief=True,
        why="Gunicorn's; nginx has 512, Apache 256 to 400",
        note="At the bound one that has not moved for a second goes for a new one: idle, else still sending "
        "its request, else not taking its answer (docs/workers.md).",
    )
    asyncio_loop = Setting(
        WORKERS, kinds.choice("auto", "asyncio", "uvloop"), "auto",
        "event loop of the asyncio worker", ("--asyncio-loop", "--asgi-loop"), aliases=("asgi_loop",),
        why="uvloop where it is installed, as in uvicorn",
    )
    lifespan = Setting(
        WORKERS, kinds.choice("auto", "on", "off"), "auto",
        "ASGI lifespan: auto tolerates an application without it",
        ("--lifespan", "--asgi-lifespan"), aliases=("asgi_lifespan",),
        why="as in uvicorn and Gunicorn",
    )

    max_requests = Setting(
        WORKERS, integer(0), 0,
        "requests a worker serves before it is replaced", ("--max-requests",), brief=True,
        why="as in Gunicorn: a remedy for leaks, not a habit", zero="never",
        note="It serves on until its successor is ready, so it serves some more (docs/reliability.md).",
    )
    max_requests_jitter = Setting(
        WORKERS, integer(0), 0,
        "random addition to it, so that workers are not replaced together", ("--max-requests-jitter",),
        note="Between 0 and this many.",
    )
    max_worker_lifetime = Setting(
        WORKERS, kinds.SECONDS, 0,
        "age at which a worker is replaced", ("--max-worker-lifetime",), unit="s",
        why="off, as uWSGI's option of this name", zero="never",
    )
    max_worker_memory = Setting(
        WORKERS, kinds.OCTETS, 0,
        "resident memory over which a worker is replaced", ("--max-worker-memory",), unit="octets",
        zero="no limit",
        why="off, as uWSGI's reload-on-rss: only the application's owner knows what is too much",
    )
    max_worker_memory_hard = Setting(
        WORKERS, kinds.OCTETS, 0,
        "resident memory over which a worker is killed", ("--max-worker-memory-hard",),
        unit="octets", why="off, as uWSGI's evil-reload-on-rss", zero="no limit",
    )

    # -- Time limits --

    timeout = Setting(
        TIME, kinds.SECONDS, 30,
        "silence after which a worker is killed",
        ("-t", "--timeout"), unit="s", brief=True, why="Gunicorn's", zero="never",
        note="A worker beats by itself while its main loop runs; with `sync` a request that runs longer "
        "than this ends the worker, as in Gunicorn. For a limit on requests see `request_timeout`.",
    )
    request_timeout = Setting(
        TIME, kinds.SECONDS, 0,
        "time a request may run before it gets a 504",
        ("--request-timeout",), unit="s", brief=True,
        why="off, as uWSGI's harakiri: only the application's owner knows how long is too long", zero="never",
    )
    request_timeout_paths = Setting(
        TIME, kinds.PATH_LIMITS, [],
        "another request time limit for some paths (repeatable), such as '/export/*=600'",
        ("--request-timeout-path",),
        note="The pattern is a shell's (`*`, `?`, `[...]`) and must match the whole path; the first that "
        "matches counts.",
    )
    queue_timeout = Setting(
        TIME, kinds.SECONDS, 0,
        "time a request may wait for a worker before it gets a 503",
        ("--queue-timeout",), unit="s", zero="never",
        why="off: under overload waiting is better than failing, until clients give up",
    )
    keepalive = Setting(
        TIME, optional(kinds.SECONDS), None,
        "time an idle connection is kept for more",
        ("--keep-alive",), unit="s", brief=True,
        why="0 with `sync`, 2 with the others: what Gunicorn's workers do", zero="close each",
    )
    header_timeout = Setting(
        TIME, kinds.SECONDS, 30,
        "time for a request's head to arrive", ("--header-timeout",), unit="s", brief=True,
        why="between Apache's 20 to 40 (mod_reqtimeout) and nginx's 60 (client_header_timeout)",
    )
    body_timeout = Setting(
        TIME, kinds.SECONDS, 60,
        "longest pause within a request's body", ("--body-timeout",), unit="s", brief=True,
        why="nginx's client_body_timeout",
    )
    body_min_rate = Setting(
        TIME, kinds.OCTETS, 0,
        "octets a second a request's body must bring, over any 10 s",
        ("--body-min-rate",), unit="octets/s", why="off, as nginx; Apache's MinRate is 500", zero="no rule",
    )
    write_timeout = Setting(
        TIME, kinds.SECONDS, 60,
        "longest pause in taking an answer", ("--write-timeout",), unit="s", brief=True,
        why="nginx's send_timeout; never a limit on the whole answer",
    )

    # -- Start, reload and stop --

    graceful_timeout = Setting(
        RELOADING, kinds.SECONDS, 30,
        "time a stopping worker has to finish", ("--graceful-timeout",), unit="s", brief=True,
        why="Gunicorn's, and Kubernetes' terminationGracePeriodSeconds",
    )
    drain_delay = Setting(
        RELOADING, kinds.SECONDS, 0,
        "on TERM keep serving so long while /readyz already fails", ("--drain-delay",), unit="s",
        why="off: only a load balancer that polls needs it",
    )
    boot_timeout = Setting(
        RELOADING, kinds.SECONDS, 60,
        "time a new worker has to become ready", ("--boot-timeout",), unit="s",
        why="twice the slowest import usually met; uWSGI and Gunicorn wait without end or for `timeout`",
    )
    boot_retries = Setting(
        RELOADING, integer(0), 10,
        "failed starts of workers in a row after which the server gives up (exit 3)", ("--boot-retries",),
        why="with back-off about a minute: a data base that restarts comes back within it",
    )
    reload_surge = Setting(
        RELOADING, integer(1), 1,
        "workers replaced at a time by a reload", ("--reload-surge",),
        why="Kubernetes rolls by a quarter; one at a time asks the least memory",
    )

    # -- Limits of a request --

    limit_request_line = Setting(
        LIMITS, integer(0), 4094,
        "octets in the request line", ("--limit-request-line",), unit="octets",
        why="Gunicorn's; nginx and Apache have about 8 KiB", zero="no limit",
    )
    limit_request_fields = Setting(
        LIMITS, integer(0), 100,
        "header fields in a request", ("--limit-request-fields",), why="Gunicorn's, and Apache's",
    )
    limit_request_field_size = Setting(
        LIMITS, integer(0), 8190,
        "octets in one header field", ("--limit-request-field_size", "--limit-request-field-size"),
        unit="octets", why="Gunicorn's, and Apache's", zero="no limit",
    )
    limit_request_body = Setting(
        LIMITS, kinds.OCTETS, 0,
        "largest request body, such as 10M (else 413)", ("--limit-request-body",), unit="octets",
        brief=True, why="no limit, as Gunicorn; nginx in front has 1 MiB, Apache 1 GiB", zero="no limit",
        note="A declared length over it is refused before the application runs.",
    )
    body_buffer = Setting(
        LIMITS, kinds.OCTETS, 65536,
        "bodies up to this are received before a worker is occupied", ("--body-buffer",), unit="octets",
        why="a form or a JSON document fits; nginx buffers 16 KiB in memory and the rest in files",
        note="A larger body, a chunked one, or one that waits for `100 Continue` is read while the "
        "application runs.",
    )

    # -- WebSocket --

    ws_max_size = Setting(
        WEBSOCKET, kinds.OCTETS, 16 << 20,
        "octets in one message (close 1009 over it)", ("--ws-max-size", "--websocket-max-message-size"),
        unit="octets", aliases=("websocket_max_message_size",), why="uvicorn's and Gunicorn's",
    )
    ws_max_queue = Setting(
        WEBSOCKET, integer(1), 32,
        "received messages waiting for the application before reading pauses", ("--ws-max-queue",),
        why="uvicorn's",
    )
    ws_ping_interval = Setting(
        WEBSOCKET, kinds.SECONDS, 20,
        "a ping after so long", ("--ws-ping-interval",), unit="s", why="uvicorn's", zero="none",
    )
    ws_ping_timeout = Setting(
        WEBSOCKET, kinds.SECONDS, 20,
        "a ping not answered for so long ends the connection", ("--ws-ping-timeout",), unit="s",
        why="uvicorn's", zero="never",
    )

    # -- Behind a proxy --

    forwarded_allow_ips = Setting(
        PROXY, kinds.NETWORKS, ["127.0.0.1", "::1"],
        "proxies to believe: addresses, networks or *", ("--forwarded-allow-ips",), brief=True,
        default_from=("FORWARDED_ALLOW_IPS", "{}"), why="Gunicorn's: a proxy on this machine",
        note="Peers on a Unix socket always count.",
    )
    forwarder_headers = Setting(
        PROXY, kinds.NAMES, ["SCRIPT_NAME", "PATH_INFO"],
        "fields with _ that such peers may send", ("--forwarder-headers",), why="Gunicorn's",
    )
    secure_scheme_headers = Setting(
        PROXY, kinds.HEADERS,
        {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
        "fields, and their values, with which such peers say https", why="Gunicorn's",
    )
    server_header = Setting(
        PROXY, kinds.SWITCH, True,
        "leave out the Server field of answers", ("--no-server-header",), why="as Gunicorn and nginx",
    )

    # -- Logging --

    accesslog = Setting(
        LOGGING, optional(kinds.FILE), None,
        "access log; - is standard output", ("--access-logfile",), brief=True,
        why="off, as in Gunicorn: the proxy in front has one",
    )
    access_log_format = Setting(
        LOGGING, kinds.TEXT, '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "form of its lines", ("--access-logformat",), why="Apache's combined, as in Gunicorn",
    )
    errorlog = Setting(
        LOGGING, kinds.FILE, "-",
        "error log; - is standard error", ("--error-logfile", "--log-file"), brief=True,
        why="Gunicorn's",
    )
    loglevel = Setting(
        LOGGING, kinds.choice("debug", "info", "warning", "error", "critical"), "info",
        "least severity to log", ("--log-level",), brief=True, why="Gunicorn's",
    )
    capture_output = Setting(
        LOGGING, kinds.SWITCH, False,
        "send the application's stdout and stderr to the error log", ("--capture-output",),
    )

    # -- Process --

    daemon = Setting(
        PROCESS, kinds.SWITCH, False, "run in the background", ("-D", "--daemon"), brief=True,
        why="a service manager wants it in the foreground",
    )
    pidfile = Setting(
        PROCESS, optional(kinds.FILE), None,
        "write the master's process id here", ("-p", "--pid"), brief=True,
    )
    user = Setting(
        PROCESS, optional(kinds.USER), None, "run the workers as this user", ("-u", "--user"), brief=True,
    )
    group = Setting(
        PROCESS, optional(kinds.GROUP), None, "run the workers as this group", ("-g", "--group"), brief=True,
    )
    umask = Setting(
        PROCESS, kinds.UMASK, 0, "mode mask of files the server makes", ("-m", "--umask"),
        why="Gunicorn's: the mode of a Unix socket is what a proxy needs to reach it",
        note="A number in octal with a leading 0, as shells write it.",
    )
    initgroups = Setting(
        PROCESS, kinds.SWITCH, False, "give the workers all groups of their user", ("--initgroups",),
    )
    proc_name = Setting(
        PROCESS, optional(kinds.TEXT), None,
        "name in the list of processes (canter[setproctitle])", ("-n", "--name"),
        why="the application's name",
        note="Without the package the name stays as it is.",
    )
    worker_tmp_dir = Setting(
        PROCESS, optional(kinds.DIRECTORY), None,
        "taken for Gunicorn's users; Canter's heartbeats need no files", ("--worker-tmp-dir",),
    )
    scoreboard_fd = Setting(
        PROCESS, optional(integer(0)), None,
        "keep the scoreboard in this inherited descriptor", ("--scoreboard-fd",),
        note="For a program that starts the server and reads its figures, such as canter-bench.",
    )

    # -- Development --

    reload = Setting(
        DEVELOPMENT, kinds.SWITCH, False,
        "replace workers when code changes (canter[reload])", ("--reload",), brief=True,
        note="The master replaces the workers as it does on HUP.",
    )
    reload_extra_files = Setting(
        DEVELOPMENT, kinds.FILES, [],
        "another file, directory or pattern to watch (repeatable)", ("--reload-extra-file",),
    )
    check_config = Setting(
        DEVELOPMENT, kinds.SWITCH, False,
        "load settings and application, then exit", ("--check-config",), brief=True,
    )
    print_config = Setting(
        DEVELOPMENT, kinds.SWITCH, False,
        "show settings and their sources, then exit", ("--print-config",), brief=True,
    )

    # -- Server hooks: only in a Python file --

    on_starting = Setting(HOOKS, hook("server"), None, "the master is about to start")
    on_reload = Setting(HOOKS, hook("server"), None, "a reload (HUP) begins")
    when_ready = Setting(HOOKS, hook("server"), None, "the master listens")
    pre_fork = Setting(HOOKS, hook("server", "worker"), None, "in the master, before a worker is forked")
    post_fork = Setting(HOOKS, hook("server", "worker"), None, "in the worker, right after the fork")
    post_worker_init = Setting(HOOKS, hook("worker"), None, "in the worker, when its application is loaded")
    worker_int = Setting(HOOKS, hook("worker"), None, "in the worker, on INT or QUIT")
    worker_abort = Setting(HOOKS, hook("worker"), None, "in the worker, on ABRT: its time limit has passed")
    pre_exec = Setting(HOOKS, hook("server"), None, "before a new master is executed (USR2)")
    pre_request = Setting(HOOKS, hook("worker", "req"), None, "before a request is handled")
    post_request = Setting(
        HOOKS, hook("worker", "req", "environ", "resp", fewest=2), None,
        "after a request; the last two parameters may be left out",
    )
    child_exit = Setting(HOOKS, hook("server", "worker"), None, "in the master, when a worker has ended")
    worker_exit = Setting(HOOKS, hook("server", "worker"), None, "in the worker, before it ends")
    nworkers_changed = Setting(
        HOOKS, hook("server", "new_value", "old_value"), None, "the number of workers has changed",
    )
    on_exit = Setting(HOOKS, hook("server"), None, "the master is about to end")

    # fmt: on

    # -- a Config itself --

    notes: tuple[Note, ...]  # what the log should say once there is one
    _sources: dict[str, str]
    _origin: Origin | None

    def __init__(self, **settings: Any) -> None:
        parsed = parse_given(settings)
        self._fill(parsed, dict.fromkeys(parsed, GIVEN), (), None)

    @classmethod
    def load(
        cls,
        argv: Sequence[str],
        environ: Mapping[str, str],
        cwd: str,
        settings: Mapping[str, Any] | None = None,
    ) -> Config:
        """Read every source, later ones winning; ``settings`` (from code) win over all."""
        from canter.sources import Origin  # the reader of sources knows this module

        return Origin(tuple(argv), dict(environ), cwd, parse_given(settings or {})).read()

    @classmethod
    def assemble(
        cls, found: Mapping[str, Any], sources: Mapping[str, str], notes: Iterable[Note], origin: Origin
    ) -> Config:
        """A Config of values that are already parsed: for ``sources.py`` alone."""
        self = cls.__new__(cls)
        self._fill(found, sources, notes, origin)
        return self

    def _fill(
        self,
        found: Mapping[str, Any],
        sources: Mapping[str, str],
        notes: Iterable[Note],
        origin: Origin | None,
    ) -> None:
        own = vars(self)
        own.update((name, _own(setting.default)) for name, setting in SETTINGS.items())
        own.update(found)
        own.update(_sources=dict(sources), _origin=origin, notes=tuple(notes))
        if not self.chdir:
            own["chdir"] = origin.cwd if origin else os.getcwd()
        self._settle_worker_class(own)

    def _settle_worker_class(self, own: dict[str, Any]) -> None:
        """Put our own name where Gunicorn's users know another, or mean another class."""
        asked = self.worker_class
        known = gunicorn.worker_class(asked) if isinstance(asked, str) else None
        if known:
            own["worker_class"] = known
            own["notes"] += (Note("info", f"worker class {asked} is {known} here"),)
        if self.worker_class == "sync" and self.threads > 1:
            own["worker_class"] = "gthread"
            own["notes"] += (Note("info", f"worker class sync with {self.threads} threads means gthread"),)
            self._sources["worker_class"] = f"sync with threads = {self.threads}"

    def reread(self) -> Config:
        """The same sources read again; a Config made by hand stays what it is."""
        return self._origin.read() if self._origin else self

    def replace(self, **settings: Any) -> Config:
        """The same with other values, which hold over a reload too."""
        parsed = parse_given(settings)
        origin = self._origin.with_settings(parsed) if self._origin else None
        other = type(self).__new__(type(self))
        other._fill(
            self.as_dict() | parsed, {**self._sources, **dict.fromkeys(parsed, GIVEN)}, self.notes, origin
        )
        return other

    def as_dict(self) -> dict[str, Any]:
        """Every setting's value by name."""
        own = vars(self)
        return {name: own[name] for name in SETTINGS}

    def source(self, name: str) -> str:
        """Where the value came from, for a person: ``default``, a file, a variable, a flag."""
        return self._sources.get(name, "default")

    def changed(self, other: Config) -> list[str]:
        """Names of the settings whose values differ in ``other``, in order of declaration."""
        mine, theirs = vars(self), vars(other)
        return [name for name in SETTINGS if not _same(mine[name], theirs[name])]

    @property
    def started_in(self) -> str:
        """The directory the server was started in."""
        return self._origin.cwd if self._origin else self.chdir

    @property
    def env(self) -> dict[str, str]:
        """``raw_env`` as a mapping."""
        pairs = (line.partition("=") for line in self.raw_env)
        return {name: value for name, _, value in pairs}

    @property
    def uid(self) -> int:
        """The workers' user."""
        return os.geteuid() if self.user is None else self.user

    @property
    def gid(self) -> int:
        """The workers' group."""
        return os.getegid() if self.group is None else self.group

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Config does not change; config.replace({name}=...) makes another")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and not self.changed(other)

    __hash__ = None  # type: ignore[assignment]  # it holds lists

    def __repr__(self) -> str:
        mine = vars(self)
        told = (f"{name}={mine[name]!r}" for name in SETTINGS if self.source(name) != "default")
        return f"Config({', '.join(told)})"


def _same(one: Any, other: Any) -> bool:
    """Equality; of hooks, that of their code, for a settings file makes them anew at each reading."""
    if isinstance(one, Shortened) and isinstance(other, Shortened):
        one, other = one.hook, other.hook
    code = getattr(one, "__code__", None)
    return bool(one == other) or (code is not None and code == getattr(other, "__code__", None))


def _own(default: Any) -> Any:
    """A default that a caller cannot change for everybody else."""
    return default.copy() if isinstance(default, (list, dict)) else default


SETTINGS: dict[str, Setting[Any]] = {
    name: setting for name, setting in vars(Config).items() if isinstance(setting, Setting)
}
_NAMES = {name: name for name in SETTINGS} | {
    alias: name for name, setting in SETTINGS.items() for alias in setting.aliases
}
_SPELLINGS = _NAMES | {
    flag.lstrip("-").replace("-", "_"): name
    for name, setting in SETTINGS.items()
    for flag in setting.flags
    if flag.startswith("--")
}


def find_name(name: str) -> str | None:
    """The setting of this name or alias."""
    return _NAMES.get(name)


def parse_given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings given by name in code, checked like those of any other source."""
    parsed = {}
    for key, value in settings.items():
        name = find_name(key)
        if name is None:
            raise ConfigError(unknown(key))
        parsed[name] = SETTINGS[name].parse(value, name)
    return parsed


def unknown(name: str) -> str:
    """The line for a name that is no setting."""
    hint = nearest(name)
    return f"unknown setting {name!r}" + (f"; did you mean {hint!r}?" if hint else "")


def nearest(name: str, cutoff: float = 0.6) -> str | None:
    """The setting that was probably meant, also where a flag's spelling was used."""
    close = meant(name.lower().replace("-", "_"), _SPELLINGS, cutoff)
    return _SPELLINGS[close] if close else None
