"""Every source of settings, which one wins, and the line for each mistake."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from canter.config import SETTINGS, Config
from canter.errors import ConfigError
from canter.kinds import Shortened


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Reading a settings file may extend the import path and load modules."""
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def load(folder: Path, *argv: str, **environ: str) -> Config:
    return Config.load(argv, environ, str(folder))


def error(folder: Path, *argv: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *argv, **environ)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def notes(config: Config) -> list[tuple[str, str]]:
    return [tuple(note) for note in config.notes]


# -- which source wins --


def test_nothing_said(folder: Path) -> None:
    config = load(folder)
    assert config.changed(Config(chdir=str(folder))) == []
    assert config.chdir == str(folder)


def test_variables_that_change_defaults(folder: Path) -> None:
    config = load(folder, PORT="81", WEB_CONCURRENCY="3", FORWARDED_ALLOW_IPS="10.0.0.1,*", SCRIPT_NAME="/x")
    assert config.bind == ["0.0.0.0:81"]
    assert config.workers == 3
    assert config.forwarded_allow_ips == ["10.0.0.1", "*"]
    assert config.script_name == "/x"
    assert config.source("bind") == "PORT"
    assert config.source("workers") == "WEB_CONCURRENCY"


def test_an_empty_variable_counts_as_not_set(folder: Path) -> None:
    assert load(folder, PORT="", CANTER_WORKERS="") == load(folder)


def test_later_sources_win(folder: Path) -> None:
    steps = [("WEB_CONCURRENCY", 2), ("canter.toml", 3), ("gunicorn.conf.py", 4)]
    steps += [("GUNICORN_CMD_ARGS", 5), ("CANTER_WORKERS", 6), ("flag -w", 7)]
    environ: dict[str, str] = {}
    argv: list[str] = []
    for source, number in steps:
        if source == "flag -w":
            argv = ["-w", str(number)]
        elif source == "GUNICORN_CMD_ARGS":
            environ[source] = f"--workers={number}"
        elif "." in source:
            (folder / source).write_text(f"workers = {number}\n")
        else:
            environ[source] = str(number)
        config = load(folder, *argv, **environ)
        assert config.workers == number
        assert config.source("workers") == source
    in_code = Config.load(argv, environ, str(folder), {"workers": 8})
    assert in_code.workers == 8
    assert in_code.source("workers") == "given in code"


def test_a_list_replaces_the_list_of_a_weaker_source(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text("bind = ['127.0.0.1:1', '127.0.0.1:2']\n")
    assert load(folder).bind == ["127.0.0.1:1", "127.0.0.1:2"]
    assert load(folder, "-b", ":3").bind == [":3"]
    assert load(folder, CANTER_BIND=":4 'unix:/a b'").bind == [":4", "unix:/a b"]


# -- CANTER_<SETTING> and GUNICORN_CMD_ARGS --


def test_every_setting_of_text_has_its_variable(folder: Path) -> None:
    for setting in SETTINGS.values():
        if setting.env and setting.kind.switch:
            assert getattr(load(folder, **{setting.env: "true"}), setting.name) is True


MISTAKES = [
    ("CANTER_WORKER", "2", "unknown setting 'worker'; did you mean 'workers'?"),
    ("CANTER_TIMEOUT", "x", "expected seconds, 0 or more, got 'x'"),
    ("CANTER_ON_EXIT", "a.b", "on_exit can only be set in a file"),
    ("CANTER_BIND", "'a", "cannot be split into words: No closing quotation"),
    ("CANTER_STATSD_HOST", "a", "Gunicorn has this setting, Canter has not"),
    ("CANTER_KEYFILE", "a", "TLS is not built yet: let a proxy in front of Canter encrypt"),
    ("GUNICORN_CMD_ARGS", "-t x", "-t: expected seconds, 0 or more, got 'x'"),
    ("GUNICORN_CMD_ARGS", "--nam", "--name needs a value"),
    ("GUNICORN_CMD_ARGS", "'", "cannot be split into words: No closing quotation"),
    ("WEB_CONCURRENCY", "x", "expected a number, auto, or a range such as 2-8, got 'x'"),
    ("PORT", "http", "expected HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N, got '0.0.0.0:http'"),
]


@pytest.mark.parametrize(("variable", "value", "line"), MISTAKES)
def test_mistakes_in_variables(folder: Path, variable: str, value: str, line: str) -> None:
    assert error(folder, **{variable: value}) == f"{variable}: {line}"


def test_what_kubernetes_sets_for_a_service_called_canter(folder: Path) -> None:
    service = {
        "CANTER_SERVICE_HOST": "10.0.0.1", "CANTER_SERVICE_PORT": "80", "CANTER_SERVICE_PORT_HTTP": "80",
        "CANTER_PORT": "tcp://10.0.0.1:80", "CANTER_PORT_80_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert load(folder, **service) == load(folder)


def test_what_one_master_hands_to_the_next(folder: Path) -> None:
    assert load(folder, CANTER__LISTENERS="3,4") == load(folder)


def test_mistakes_in_flags(folder: Path) -> None:
    assert error(folder, "-w", "x") == "-w: expected a number, auto, or a range such as 2-8, got 'x'"
    assert error(folder, "--bind", "a:b").startswith("--bind: expected HOST:PORT")
    assert error(folder, "--chdir", "nowhere") == "flag --chdir: no such directory to work in: 'nowhere'"


# -- TOML --


def test_canter_toml(folder: Path) -> None:
    (folder / "canter.toml").write_text(
        'wsgi_app = "shop:app"\nworkers = "2-4"\nbind = [":1", ":2"]\npreload_app = true\n'
        "secure_scheme_headers = { x-proto = 'https' }\nlimit_request_body = '10M'\n"
    )
    config = load(folder)
    assert config.wsgi_app == "shop:app"
    assert config.workers.most == 4
    assert config.bind == [":1", ":2"]
    assert config.preload_app
    assert config.secure_scheme_headers == {"X-PROTO": "https"}
    assert config.limit_request_body == 10 << 20


def test_a_table_of_pyproject(folder: Path) -> None:
    project = folder / "pyproject.toml"
    project.write_text("[tool.canter]\nthreads = 3\n[tool.other]\nx = 1\n")
    assert load(folder).threads == 3
    assert load(folder).source("threads") == "pyproject.toml [tool.canter]"
    (folder / "canter.toml").write_text("timeout = 5\n")
    assert load(folder).threads == 1, "canter.toml stands in its place"


def test_a_project_that_is_not_ours_is_not_read(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("this is = not toml")
    assert load(folder) == Config(chdir=str(folder))


def test_mistakes_in_toml(folder: Path) -> None:
    file = folder / "canter.toml"
    file.write_text("workrs = 1\n")
    assert error(folder) == "canter.toml: unknown setting 'workrs'; did you mean 'workers'?"
    file.write_text("keep-alive = 1\n")
    assert error(folder) == "canter.toml: unknown setting 'keep-alive'; did you mean 'keepalive'?"
    file.write_text("timeout = 'x'\n")
    assert error(folder) == "canter.toml: timeout: expected seconds, 0 or more, got 'x'"
    file.write_text("spew = true\n")
    assert error(folder) == "canter.toml: spew: Gunicorn has this setting, Canter has not"
    file.write_text("certfile = 'x'\n")
    assert error(folder).startswith("canter.toml: certfile: TLS is not built yet")
    file.write_text("= 1\n")
    assert error(folder).startswith("canter.toml: ")


def test_files_that_cannot_be_read(folder: Path) -> None:
    assert error(folder, "-c", "none.toml") == "none.toml: cannot be read: No such file or directory"
    (folder / "canter.toml").write_bytes(b"\xff")
    assert error(folder).startswith("canter.toml: 'utf-8' codec can't decode byte")


def test_toml_given_with_config(folder: Path) -> None:
    (folder / "other.toml").write_text("threads = 2\n")
    assert load(folder, "-c", "other.toml").threads == 2
    assert load(folder, "-c", "other.toml").source("threads") == "other.toml"


# -- Python in Gunicorn's form --

GUNICORN_FILE = """
import multiprocessing
import os

bind = "unix:/run/shop.sock"
workers = min(3, multiprocessing.cpu_count() * 2 + 1)
worker_class = "uvicorn.workers.UvicornWorker"
worker_connections = 500
keepalive = 5
raw_env = ["DJANGO_SETTINGS_MODULE=shop.settings", "SCRIPT_NAME=/shop"]
umask = 0o007
user = None
tmp_upload_dir = None
certfile = None
proxy_protocol = False
spew = False
logger_class = "shop.logs.Logger"
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
accesslog = "-"
proc_name = "shop"
wsgi_app = "shop.wsgi:application"
helper = os.path.join("a", "b")


def on_starting(server):
    pass


def post_fork(server, worker):
    worker.log.info("spawned %s", worker.pid)


def post_request(worker, req):
    return "short"


def nworkers_changed(server, new_value, old_value):
    pass
"""


def test_a_real_gunicorn_file_is_found_and_read(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(GUNICORN_FILE)
    config = load(folder)
    assert config.bind == ["unix:/run/shop.sock"]
    assert 1 <= config.workers <= 3
    assert config.worker_class == "asyncio"
    assert config.worker_connections == 500
    assert config.env == {"DJANGO_SETTINGS_MODULE": "shop.settings", "SCRIPT_NAME": "/shop"}
    assert config.script_name == "/shop"
    assert config.source("script_name") == "raw_env of gunicorn.conf.py"
    assert config.umask == 7
    assert config.forwarded_allow_ips == ["*"]
    assert config.proc_name == "shop"
    assert config.wsgi_app == "shop.wsgi:application"
    assert config.on_starting is not None
    assert config.post_fork is not None
    assert isinstance(config.post_request, Shortened)
    assert config.post_request("worker", "req", {}, "resp") == "short"
    assert config.pre_fork is None
    assert config.source("post_fork") == "gunicorn.conf.py"
    assert notes(config) == [
        ("warning", "gunicorn.conf.py: Canter does not have spew, logger_class: ignored"),
        ("info", "worker class uvicorn.workers.UvicornWorker is asyncio here"),
    ]


def test_the_strongest_source_names_the_file(folder: Path) -> None:
    for name in ("gunicorn.conf.py", "toml.py", "args.py", "variable.py", "flag.py"):
        (folder / name).write_text(f"proc_name = {name!r}\n")
    (folder / "sub").mkdir()
    assert load(folder).proc_name == "gunicorn.conf.py"
    (folder / "canter.toml").write_text("config = 'toml.py'\n")
    assert load(folder).proc_name == "toml.py"
    environ = {"GUNICORN_CMD_ARGS": "-c args.py"}
    assert load(folder, **environ).proc_name == "args.py"
    environ["CANTER_CONFIG"] = "variable.py"
    assert load(folder, **environ).proc_name == "variable.py"
    assert load(folder, "-c", "flag.py", "--chdir", "sub", **environ).proc_name == "flag.py"
    assert load(folder, "--config", f"file:{folder}/flag.py", **environ).proc_name == "flag.py"


def test_a_module_of_settings(folder: Path) -> None:
    (folder / "shop_settings.py").write_text("threads = 2\n")
    config = load(folder, "-c", "python:shop_settings")
    assert config.threads == 2
    (folder / "shop_settings.py").write_text("threads = 30\n")
    assert config.reread().threads == 30
    line = error(folder, "-c", "python:no_such_settings")
    assert line == "python:no_such_settings: ModuleNotFoundError: No module named 'no_such_settings'"


def test_a_file_may_import_the_project(folder: Path) -> None:
    (folder / "shop_sizes.py").write_text("count = 4\n")
    (folder / "gunicorn.conf.py").write_text("from shop_sizes import count\nworkers = count\n")
    assert load(folder).workers == 4


def test_mistakes_in_a_python_file(folder: Path) -> None:
    file = folder / "gunicorn.conf.py"
    file.write_text("timeout = 'x'\n")
    assert error(folder) == "gunicorn.conf.py: timeout: expected seconds, 0 or more, got 'x'"
    file.write_text("def pre_fork(server): pass\n")
    assert error(folder) == (
        "gunicorn.conf.py: pre_fork: expected a function of (server, worker), got one of 1 parameters"
    )
    file.write_text("x = 1\n\nraise RuntimeError('no data base')\n")
    assert error(folder) == "gunicorn.conf.py line 3: RuntimeError: no data base"
    file.write_text("x = = 1\n")
    assert error(folder) == "gunicorn.conf.py: invalid syntax (gunicorn.conf.py, line 1)"
    assert error(folder, "-c", "none.py") == "none.py: cannot be read: No such file or directory"


REFUSED = [
    "certfile = 'a'",
    "keyfile = 'a'",
    "ca_certs = 'a'",
    "cert_reqs = 2",
    "ciphers = 'A'",
    "ssl_version = 5",
    "def ssl_context(config, default): return default()",
    "proxy_protocol = True",
    "proxy_protocol = 'v2'",
    "protocol = 'uwsgi'",
]


@pytest.mark.parametrize("line", REFUSED)
def test_security_settings_that_are_not_built(folder: Path, line: str) -> None:
    (folder / "gunicorn.conf.py").write_text(line + "\n")
    reason = "(TLS is not built yet|the PROXY protocol is not built yet|no protocol but HTTP is spoken)"
    assert re.match(rf"gunicorn.conf.py: \w+: {reason}", error(folder))


def test_security_settings_that_ask_for_nothing(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "certfile = keyfile = None\ncert_reqs = 0\nproxy_protocol = 'off'\nprotocol = 'http'\n"
    )
    assert notes(load(folder)) == []


def test_a_likely_slip_is_pointed_out(folder: Path) -> None:
    file = folder / "gunicorn.conf.py"
    file.write_text("keep_alive = 5\ncores = 2\nworkers_per_core = 2\ndef bindd(): pass\n_workers = 1\n")
    assert notes(load(folder)) == [
        ("warning", "gunicorn.conf.py: unknown setting 'keep_alive'; did you mean 'keepalive'?")
    ]


# -- rules, aliases, reading again --


def test_gunicorns_other_names(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "asgi_loop = 'asyncio'\nasgi_lifespan = 'off'\nwebsocket_max_message_size = 9\nroot_path = '/a'\n"
    )
    config = load(folder)
    assert config.asyncio_loop == "asyncio"
    assert config.lifespan == "off"
    assert config.ws_max_size == 9
    assert config.script_name == "/a"


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("gevent_pywsgi", "gevent"),
        ("uvicorn.workers.UvicornWorker", "asyncio"),
        ("uvicorn.workers:UvicornH11Worker", "asyncio"),
        ("uvicorn_worker.UvicornWorker", "asyncio"),
        ("asgi", "asyncio"),
        ("gunicorn.workers.gthread.ThreadWorker", "gthread"),
        ("egg:gunicorn#gevent", "gevent"),
    ],
)
def test_worker_classes_by_gunicorns_names(folder: Path, asked: str, got: str) -> None:
    config = load(folder, "-k", asked)
    assert config.worker_class == got
    assert notes(config) == [("info", f"worker class {asked} is {got} here")]


def test_our_own_names_are_no_news(folder: Path) -> None:
    for name in ("sync", "gthread", "gevent", "asyncio", "tornado", "eventlet", "shop.workers:Own"):
        assert notes(load(folder, "-k", name)) == []


def test_gunicorns_sync_with_threads(folder: Path) -> None:
    config = load(folder, "-k", "gunicorn.workers.sync.SyncWorker", "--threads", "2")
    assert config.worker_class == "gthread"
    assert len(config.notes) == 2


def test_a_folder_for_heartbeats_is_not_needed(folder: Path) -> None:
    config = load(folder, "--worker-tmp-dir", "/dev/shm")
    assert notes(config) == [("info", "worker_tmp_dir is not needed: heartbeats use no files")]


def test_the_directory_is_relative_to_the_start(folder: Path) -> None:
    (folder / "sub").mkdir()
    assert load(folder, "--chdir", "sub").chdir == str(folder / "sub")


def test_reading_again_reads_the_files_of_now(folder: Path) -> None:
    file = folder / "gunicorn.conf.py"
    file.write_text("timeout = 1\n")
    config = load(folder, "-w", "3")
    before = file.stat()
    file.write_text("timeout = 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # an edit within the clock's grain
    again = config.reread()
    assert again.timeout == 2
    assert again.workers == 3
    assert config.changed(again) == ["timeout"]
    file.write_text("timeout = 'x'\n")
    with pytest.raises(ConfigError):
        again.reread()


def test_hooks_are_made_anew_and_yet_the_same(folder: Path) -> None:
    file = folder / "gunicorn.conf.py"
    hooks = "def pre_fork(server, worker): {}\ndef post_request(worker, req): pass\n"
    file.write_text(hooks.format("pass"))
    config = load(folder)
    again = config.reread()
    assert again.pre_fork is not config.pre_fork
    assert config.changed(again) == []
    file.write_text(hooks.format("print(server)"))
    assert config.changed(config.reread()) == ["pre_fork"]


def test_what_code_replaced_holds_over_a_reading(folder: Path) -> None:
    config = load(folder, "-w", "3").replace(workers=5)
    assert config.reread().workers == 5
    assert config.reread().source("workers") == "given in code"


def test_a_config_made_by_hand_is_not_read_again() -> None:
    config = Config(workers=2)
    assert config.reread() is config
