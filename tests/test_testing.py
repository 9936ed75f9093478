"""canter.testing: what the other tests stand on."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from canter.testing import ServerFailed, serve

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_tcp() -> None:
    with serve("hello:app", cwd=EXAMPLES) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert (server.host, server.socket_path) == ("127.0.0.1", "")
        with urlopen(server.url, timeout=30) as answer:
            assert answer.read() == b"Hello, world!\n"
        assert server.wait_log(rf"Listening at: \S+ \({server.pid}\)")
        assert server.stop() == 0
        assert server.stop() == 0


def test_unix(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve("hello:app", cwd=EXAMPLES, bind=[f"unix:{path}"]) as server:
        assert (server.url, server.socket_path, server.host, server.port) == (f"unix:{path}", path, "", 0)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(path)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_several_listeners() -> None:
    with serve("hello:app", cwd=EXAMPLES, bind=["127.0.0.1:0", "127.0.0.1:0"]) as server:
        assert len(set(server.urls)) == 2
        for url in server.urls:
            with urlopen(url, timeout=30) as answer:
                assert answer.status == 200


def test_settings_go_by_name() -> None:
    hook = "def when_ready(server):\n    print('the hook ran', workers, flush=True)\n"
    with serve("hello:app", cwd=EXAMPLES, workers=2, loglevel="debug", config=hook) as server:
        server.wait_log("the hook ran 2")
        assert server.wait_log(r"(?s)Booting worker.*Booting worker")


def test_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The caller's environment goes to the application, but its settings of servers do not."""
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--nonsense")
    monkeypatch.setenv("CANTER_WORKERS", "nonsense")
    monkeypatch.setenv("COLOUR", "bay")
    (tmp_path / "shows.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [' '.join([os.environ['COLOUR'], os.environ['NAME']]).encode()]\n"
    )
    with (
        serve("shows:app", cwd=tmp_path, env={"NAME": "Ada"}) as server,
        urlopen(server.url, timeout=30) as answer,
    ):
        assert answer.read() == b"bay Ada"


def test_a_line_that_does_not_come() -> None:
    with serve("hello:app", cwd=EXAMPLES) as server:
        with pytest.raises(ServerFailed, match=r"(?s)no 'never' in the log; .*Listening at"):
            server.wait_log("never", timeout=0.1)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        with pytest.raises(ServerFailed, match="the server ended with 0"):
            server.wait_log("never")


def test_a_server_that_does_not_start() -> None:
    with (
        pytest.raises(ServerFailed, match=r"(?s)the server ended with 2.*nonsense"),
        serve(None, args=["--nonsense"]),
    ):
        pass


def test_a_block_that_fails_shows_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), serve("hello:app", cwd=EXAMPLES) as server:
        raise ZeroDivisionError
    assert f"Listening at: {server.url}" in capsys.readouterr().err
    assert server.process.returncode is not None


def test_an_exit_code_is_not_overlooked() -> None:
    hook = "def on_exit(server):\n    raise SystemExit(7)\n"
    with pytest.raises(ServerFailed, match="exited with 7"), serve("hello:app", cwd=EXAMPLES, config=hook):
        pass
