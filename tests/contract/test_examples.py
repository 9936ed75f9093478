"""The example workers keep the contract, found by name as a user's own are, and do what they are for."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from canter.contract import get
from canter.testing import WorkerContract

WORKERS = str(Path(__file__).resolve().parents[2] / "examples" / "workers")


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
