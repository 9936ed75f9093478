"""A settings file written for Gunicorn, on a real server: its hooks run, with what they use."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from canter.testing import serve

DEADLINE = 30

APPLICATION = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(environ["SCRIPT_NAME"] + " " + os.environ["SHOP_MODE"]).encode()]
"""

SETTINGS = """
wsgi_app = "shop"
raw_env = ["SHOP_MODE=live", "SCRIPT_NAME=/shop"]
statsd_host = "localhost:8125"

def on_starting(server):
    server.log.info("hook on_starting %d", server.cfg.workers)

def when_ready(server):
    server.log.info("hook when_ready")

def nworkers_changed(server, new_value, old_value):
    server.log.info("hook nworkers_changed %s %s", new_value, old_value)

def pre_fork(server, worker):
    server.log.info("hook pre_fork %s", worker.age)

def post_fork(server, worker):
    server.log.info("hook post_fork %d", worker.pid)

def post_worker_init(worker):
    worker.log.info("hook post_worker_init %s %d", worker.wsgi.__name__, worker.pid)

def pre_request(worker, req):
    worker.log.info("hook pre_request %s %s", req.method, req.path)

def post_request(worker, req, environ):
    worker.log.info("hook post_request %s", environ["PATH_INFO"])

def worker_exit(server, worker):
    server.log.info("hook worker_exit %d", worker.pid)

def child_exit(server, worker):
    server.log.info("hook child_exit %d", worker.pid)

def on_exit(server):
    server.log.info("hook on_exit")
"""


def test_a_file_written_for_gunicorn(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APPLICATION)
    with serve(None, cwd=tmp_path, config=SETTINGS) as server:
        answer = httpx.get(server.url + "/shop/cart", timeout=DEADLINE)
        assert (answer.status_code, answer.text) == (200, "/shop live")
        worker = server.wait_log(r"Booting worker with pid: (\d+)")[1]
        server.wait_log("hook post_request")
        server.stop()
        hooks = re.findall(r"hook (.*)", server.log)
        assert "Canter does not have statsd_host: ignored" in server.log
    assert hooks == [
        "on_starting 1",
        "when_ready",
        "nworkers_changed 1 None",
        "pre_fork 1",
        f"post_fork {worker}",
        f"post_worker_init application {worker}",
        "pre_request GET /shop/cart",
        "post_request /cart",
        f"worker_exit {worker}",
        f"child_exit {worker}",
        "on_exit",
    ]
