"""Structured logs to standard error: JSON, or lines for a person on a terminal. Nothing personal.

An exception leaves its class and its frames, never its message: messages may quote what was being handled. Of other
people's libraries a record leaves its template without what was to be put into it, and of those not named here only
that there was one.
"""

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

TRUSTED: Final = ("textkeep", "uvicorn", "sqlalchemy", "alembic", "apscheduler", "asyncio")
"""Loggers whose message templates are known to hold no data."""

LEVELS: Final = {
    "uvicorn": logging.WARNING,
    "apscheduler": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
}

FRAMES: Final = 30
"""How many frames of an exception are kept."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(*, console: bool | None = None, level: int = logging.WARNING) -> None:
    """Route every log of this process through here. `console` None: by whether standard error is a terminal."""
    shown = sys.stderr.isatty() if console is None else console
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=shown) if shown else structlog.processors.JSONRenderer(ensure_ascii=True)
    )
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        frames_only,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[template_only, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        keep_exc_info=False,
        keep_stack_info=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TRUSTED:
        logging.getLogger(name).setLevel(LEVELS.get(name, logging.INFO))
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _at_the_end
    threading.excepthook = _in_a_thread


def frames_only(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put an exception's class and frames in the place of the exception itself."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["error"], event["frames"] = type(error).__qualname__, frames_of(error)
    return event


def frames_of(error: BaseException) -> list[str]:
    """Where an exception came from: `file:line function`, innermost last, then those of what it was raised from."""
    told: list[str] = []
    step: BaseException | None = error
    while step is not None and len(told) < FRAMES:
        told += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(step.__traceback__)]
        step = step.__cause__ or step.__context__
        if step is not None:
            told.append(f"raised from {type(step).__qualname__}")
    return told[:FRAMES]


def template_only(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Leave of a foreign record its template, without its arguments, or nothing of it at all."""
    record: logging.LogRecord = event["_record"]
    trusted = record.name.split(".", 1)[0] in TRUSTED
    event["event"] = record.msg if trusted and isinstance(record.msg, str) else "(not shown)"
    event.pop("positional_args", None)
    return event


def _at_the_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("textkeep").error("the process ends on an unforeseen error", exc_info=(kind, error, trace))


def _in_a_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        found: _ExcInfo = (args.exc_type, args.exc_value, args.exc_traceback)
        logging.getLogger("textkeep").error("a thread ends on an unforeseen error", exc_info=found)
