"""The command: pages it prints, exit codes, and what it says on the way out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from canter import __version__, usage
from canter.config import SETTINGS, Config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("import os\ndef application(environ, start_response): return []\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no data base')\n")
    (tmp_path / "killed.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    (tmp_path / "needs.py").write_text("import os\nos.environ['SHOP']\napp = len\n")
    return tmp_path


def canter(folder: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "canter", *argv],
        cwd=folder,
        env=kept | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_version(project: Path) -> None:
    done = canter(project, "-v")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"canter {__version__}\n", "")


def test_help_is_short_and_complete_help_is_complete(project: Path) -> None:
    done = canter(project, "--help", COLUMNS="80")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 66, "about a screen and a half"
    assert all(len(line) <= 80 for line in lines)
    assert "  -w, --workers N                processes: a number, auto, or a range 2-8 [1]" in lines
    everything = canter(project, "--help-all").stdout
    for setting in SETTINGS.values():
        assert not setting.flags or re.search(rf"(^|\s){setting.flags[0]}[ ,\n]", everything), setting.name


def test_a_wrong_option(project: Path) -> None:
    done = canter(project, "--workrs", "2", "shop")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "canter: unknown option --workrs; did you mean --workers?\n"


def test_no_application(project: Path) -> None:
    done = canter(project, "-w", "2")
    assert done.returncode == 2
    assert done.stderr == (
        "canter: no application given: canter [OPTIONS] APP_MODULE, or wsgi_app in a settings file\n"
    )


def test_an_unknown_worker_class(project: Path) -> None:
    done = canter(project, "-k", "gevnt", "shop")
    assert done.returncode == 2
    assert done.stderr == "canter: unknown worker class 'gevnt'; did you mean gevent?\n"


# -- --print-config --


def test_print_config_shows_values_and_sources(project: Path) -> None:
    (project / "gunicorn.conf.py").write_text("timeout = 9\ndef pre_fork(server, worker): pass\n")
    done = canter(project, "--print-config", "-w", "2-8", CANTER_THREADS="4", PORT="81")
    assert done.returncode == 0
    assert done.stderr == "canter: worker class sync with 4 threads means gthread\n"
    shown = {re.sub(r"\s+", " ", line) for line in done.stdout.splitlines()}
    assert 'workers = "2-8" # flag -w' in shown
    assert "timeout = 9 # gunicorn.conf.py" in shown
    assert "threads = 4 # CANTER_THREADS" in shown
    assert 'bind = ["0.0.0.0:81"] # PORT' in shown
    assert 'worker_class = "gthread" # sync with threads = 4' in shown
    assert "# keepalive is not set # default" in shown
    assert "# pre_fork = pre_fork # gunicorn.conf.py" in shown
    assert len(shown) == len(SETTINGS)


def test_what_print_config_prints_can_be_read_again(tmp_path: Path) -> None:
    config = Config(
        chdir=str(tmp_path),
        bind=["127.0.0.1:0", "unix:/a b"],
        workers="2-8",
        access_log_format='it\'s "quoted" \\ %(h)s',
        request_timeout_paths=["/export/*=600"],
        umask=0o22,
        reload=True,
        worker_class="shop.workers:Own",
    )
    text = "\n".join(usage.print_config(config))
    assert tomllib.loads(text)["workers"] == "2-8"
    (tmp_path / "canter.toml").write_text(text)
    again = Config.load([], {}, str(tmp_path))
    assert config.changed(again) == []


# -- --check-config --


def test_check_config_loads_the_application_too(project: Path) -> None:
    done = canter(project, "--check-config", "shop")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "canter: settings and application are in order\n"


def test_check_config_sets_the_environment(project: Path) -> None:
    assert canter(project, "--check-config", "needs").returncode == 4
    assert canter(project, "--check-config", "needs", "-e", "SHOP=1").returncode == 0


def test_check_config_says_what_serving_would_say(project: Path) -> None:
    done = canter(project, "--check-config", "--threads", "2", "shop")
    assert done.stderr == "canter: worker class sync with 2 threads means gthread\n"


WRONG = [
    (["broken"], 4, r"Traceback .*RuntimeError: no data base\ncanter: module 'broken' cannot .*"),
    (["nowhere"], 4, r"canter: No module named 'nowhere'"),
    (["killed"], 4, r"canter: killed: loading it ended the process \(SIGKILL\)"),
    (["shop", "-k", "shop:application"], 2, r"canter: worker class shop:application is not a subclass of .*"),
    (["shop", "-t", "x"], 2, r"canter: -t: expected seconds, 0 or more, got 'x'"),
    ([], 2, r"canter: no application given: .*"),
]


@pytest.mark.parametrize(("argv", "code", "said"), WRONG)
def test_check_config_and_what_is_wrong(project: Path, argv: list[str], code: int, said: str) -> None:
    done = canter(project, "--check-config", *argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(said + "\n", done.stderr, re.DOTALL), done.stderr
