"""The error log: its format, and that nothing can make it raise, wait or fall silent."""

from __future__ import annotations

import logging
import logging.config
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from canter.errors import ConfigError
from canter.observe.errorlog import ErrorLog, open_log

LINE = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[%d\] \[%s\] %s\n"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "error.log"


@pytest.fixture
def log(path: Path) -> Iterator[ErrorLog]:
    log = open_log(str(path))
    yield log
    log.begin("-", "info", False)


def test_a_line_looks_like_gunicorns(log: ErrorLog, path: Path) -> None:
    log.info("Booting worker with pid: %d", 42)
    assert re.fullmatch(LINE % (os.getpid(), "INFO", "Booting worker with pid: 42"), path.read_text())


def test_it_is_the_logger_of_its_name(log: ErrorLog) -> None:
    assert logging.getLogger("canter.error") is log
    assert not log.propagate


def test_the_level_counts(log: ErrorLog, path: Path) -> None:
    log.begin(str(path), "warning", False)
    log.info("not this")
    log.warning("but this")
    assert path.read_text().endswith("[WARNING] but this\n")
    assert "not this" not in path.read_text()


def test_a_traceback_is_in_it(log: ErrorLog, path: Path) -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("Exception in worker process")
    assert path.read_text().endswith("KeyError: 'lost'\n")


def test_wrong_arguments_do_not_raise(log: ErrorLog, path: Path) -> None:
    assert log.sink is not None
    log.sink.handle(log.makeRecord(log.name, logging.INFO, "", 0, "%d requests", ("many",), None))
    log.info("surrogate \udc80")
    text = path.read_text()
    assert "not formatted" in text
    assert "many" in text
    assert "surrogate" in text


def test_an_applications_logging_setup_does_not_silence_it(log: ErrorLog, path: Path) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
    log.info("still here")
    assert path.read_text().endswith("still here\n")


def test_reopen_after_the_file_was_moved(log: ErrorLog, path: Path) -> None:
    log.info("one")
    old = path.rename(path.with_suffix(".1"))
    log.info("two")
    log.reopen()
    log.info("three")
    assert [line.split()[-1] for line in old.read_text().splitlines()] == ["one", "two"]
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["three"]


def test_reopen_that_fails_keeps_the_old_file(log: ErrorLog, path: Path) -> None:
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    log.reopen()
    log.info("still here")
    assert "cannot reopen the error log" in old.read_text()
    assert old.read_text().endswith("still here\n")


def test_a_file_that_cannot_be_opened_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="errorlog: cannot write"):
        open_log(str(tmp_path / "no" / "folder"))


def test_a_full_disk_costs_the_line_only(log: ErrorLog) -> None:
    log.begin("/dev/full", "info", False)
    for _ in range(3):
        log.info("lost")
    assert log.sink is not None
    assert log.sink.lost == 3


def test_a_closed_stderr_costs_the_line_only() -> None:
    program = (
        "import os; os.close(2); from canter.observe.errorlog import open_log;"
        "log = open_log(); log.info('lost'); print(log.sink.lost)"
    )
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_closed_standard_streams_are_filled() -> None:
    program = (
        "import os; from canter.observe.errorlog import secure_standard_streams;"
        "os.close(0); os.close(2); secure_standard_streams(); pipe = os.pipe();"
        "print(min(pipe) > 2, os.fstat(2).st_rdev == os.stat(os.devnull).st_rdev)"
    )
    done = run(program)
    assert done.stdout == "True True\n"


def test_a_reader_that_sleeps_does_not_stop_the_writer(log: ErrorLog) -> None:
    reader, writer = os.pipe()
    assert log.sink is not None
    log.removeHandler(log.sink)
    sink = type(log.sink)(writer)
    log.addHandler(sink)
    try:
        for _ in range(400):
            log.info("x" * 2000)
        assert sink.lost > 100
        os.read(reader, 1 << 16)
        log.info("read again")
        text = os.read(reader, 1 << 16).decode()
        assert "log lines were lost" in text
        assert "read again" in text
    finally:
        log.removeHandler(sink)
        os.close(reader)
        os.close(writer)


def test_capture_output_takes_what_is_printed(path: Path) -> None:
    program = (
        "import os, sys; from canter.observe.errorlog import open_log;"
        f"log = open_log({str(path)!r}, capture=True);"
        "print('printed', flush=True); os.system('echo from a child');"
        f"os.rename({str(path)!r}, {str(path)!r} + '.1'); log.reopen(); print('after', file=sys.stderr)"
    )
    done = run(program)
    assert (done.stdout, done.stderr) == ("", "")
    assert Path(f"{path}.1").read_text() == "printed\nfrom a child\n"
    assert path.read_text() == "after\n"
