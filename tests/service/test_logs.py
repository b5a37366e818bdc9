"""Logs: class and frames of an error, templates of other people's records, and nothing that was being handled."""

import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from textkeep.service import logs

CANARY = "canary-0123456789"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()


def fail() -> None:
    try:
        int(CANARY)
    except ValueError as exc:
        raise RuntimeError(f"could not read {CANARY}") from exc


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    written = capsys.readouterr().err
    assert CANARY not in written
    return [json.loads(line) for line in written.splitlines()]


@pytest.mark.parametrize("console", [True, False])
def test_an_exception_leaves_its_class_and_frames_and_not_its_message(
    console: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(console=console)
    for log in (structlog.stdlib.get_logger("textkeep.test"), logging.getLogger("uvicorn.error")):
        try:
            fail()
        except RuntimeError:
            log.exception("it failed")
    written = capsys.readouterr().err
    assert CANARY not in written
    assert written.count("it failed") == 2
    assert written.count("RuntimeError") == 2
    assert written.count("raised from ValueError") == 2
    assert "test_logs.py" in written


def test_of_other_libraries_only_the_template_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=False)
    logging.getLogger("sqlalchemy.engine").warning("parameters: %r", (CANARY,))
    logging.getLogger("apscheduler.executors.default").error("Job %s raised", CANARY)
    assert [line["event"] for line in lines(capsys)] == ["parameters: %r", "Job %s raised"]


def test_of_a_library_nobody_named_nothing_is_kept_but_that_it_spoke(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=False)
    logging.getLogger("somebody.else").error(f"formatted already: {CANARY}")
    [line] = lines(capsys)
    assert (line["event"], line["logger"]) == ("(not shown)", "somebody.else")


def test_a_thread_that_dies_says_so_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=False)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    [line] = lines(capsys)
    assert line["error"] == "RuntimeError"


def test_the_end_of_the_process_says_so_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=False)
    try:
        fail()
    except RuntimeError as exc:
        sys.excepthook(type(exc), exc, exc.__traceback__)
    [line] = lines(capsys)
    assert line["error"] == "RuntimeError"


def test_sql_statements_are_not_logged_even_where_asked_for_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(console=False, level=logging.DEBUG)
    logging.getLogger("sqlalchemy.engine.Engine").info("SELECT %r", CANARY)
    logging.getLogger("uvicorn.access").info("GET %s", CANARY)
    assert lines(capsys) == []
