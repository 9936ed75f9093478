"""The example workers keep the contract, found by name as a user's own are, and do what they are for."""

from __future__ import annotations

import ast
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from canter.contract import get
from canter.testing import WorkerContract

WORKERS = str(Path(__file__).resolve().parents[2] / "examples" / "workers")


def test_a_worker_class_takes_less_than_twenty_lines() -> None:
    """As docs/workers.md promises, blank ones apart; what is left to say is how requests are run."""
    found = {
        node.name: len([line for line in lines[node.lineno - 1 : node.end_lineno] if line.strip()])
        for lines in (path.read_text().splitlines() for path in Path(WORKERS).glob("*.py"))
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, ast.ClassDef)
    }
    assert found.keys() >= {"ThreadPerRequest", "FuturesWorker", "ExpressLane"}
    assert max(found.values()) < 20, found


class TestThreadPerRequest(WorkerContract):
    worker_class = "thread_per_request:ThreadPerRequest"
    cwd = WORKERS


class TestFuturesPool(WorkerContract):
    worker_class = "futures_pool:FuturesWorker"
    cwd = WORKERS
    settings: ClassVar[dict[str, Any]] = {"threads": 4}


class TestExpressLane(WorkerContract):
    worker_class = "express_lane:ExpressLane"
    cwd = WORKERS
    settings: ClassVar[dict[str, Any]] = {"threads": 2}

    def test_express_overtakes(self, tmp_path: Path) -> None:
        """All threads of the other lane are taken, and more wait; the health check is answered."""
        with self.stage(tmp_path) as stage, ExitStack() as stack:
            busy = [stack.enter_context(stage.client()) for _ in range(4)]
            for number, client in enumerate(busy):
                client.send(get(f"/wait/slow{number}"))
            stage.seen("slow0.begun")
            stage.seen("slow1.begun")
            assert stack.enter_context(stage.client()).get("/healthz").text == "well"
            for number, client in enumerate(busy):
                stage.make(f"slow{number}")
                assert client.answer().status == 200
