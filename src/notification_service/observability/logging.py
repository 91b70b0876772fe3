"""The log: one line for each event, as JSON or readable, without bodies, addresses or secrets.

It goes to stderr, because the commands print their data on stdout. Event names are snake_case
(`api_started`, `worker_started`, `delivered`, `retry_scheduled`, `sent_to_dlq`, `queue_failed`); what they
have in common stands in the context: `structlog.contextvars.bound_contextvars(request_id=…, …)`.
"""

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, override

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from notification_service.observability.privacy import redact, without_values

type Format = Literal["auto", "json", "console"]

OURS = "notification_service"
SPEAK_AT_INFO = ("uvicorn.error",)
"""Servers whose start and stop is worth a line; others are heard from warnings up."""
SILENT = ("uvicorn.access",)
"""A line for each request would cost more than it tells; `http_requests_total` counts them."""


def configure(
    level: str = "info",
    *,
    format: Format = "auto",  # noqa: A002 - the setting's own word
    service_name: str,
    process: str,
) -> None:
    """Send every log line of this process, ours and the libraries', to stderr in one form.

    Libraries are heard from warnings up, whatever the level: below that they print SQL parameters.
    May be called again.
    """
    last = _last_processors(_is_json(format))
    common = _common_processors({"service": service_name, "process": process, "pid": os.getpid()})
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *common,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=False,
    )
    _configure_libraries(level, common, last)
    sys.excepthook = _log_crash


class _StderrLogger:
    """Writes whole lines to what stderr is at that moment."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        """Write one line at once, so that threads and processes don't mix theirs."""
        with suppress(OSError, ValueError):  # nobody reads any more: no reason to stop working
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = fatal = log = msg


class _StderrHandler(logging.Handler):
    """Writes the libraries' lines the same way."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: of a line that can't be put together only the origin is told."""
        try:
            line = self.format(record)
        except Exception as error:
            line = f"a line of the log of {record.name} is lost ({type(error).__name__})"
        _StderrLogger().msg(line)


def _common_processors(process: dict[str, Any]) -> list[Processor]:
    def put_in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
        return {**first, **event, **process}

    return [structlog.processors.TimeStamper(fmt="iso", utc=True), put_in_order, without_values, redact]


def _is_json(format: Format) -> bool:  # noqa: A002
    return format == "json" or (format == "auto" and not sys.stderr.isatty())


def _last_processors(is_json: bool) -> list[Processor]:
    if is_json:
        return [structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=20)]


def _configure_libraries(level: str, common: Iterable[Processor], last: Iterable[Processor]) -> None:
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                _name,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _first_line,
                *common,
                *last,
            ],
        )
    )
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _StderrHandler)] + [handler]
    root.setLevel(max(wanted, logging.WARNING))
    logging.captureWarnings(True)
    logging.getLogger(OURS).setLevel(wanted)
    for name in SPEAK_AT_INFO:
        _hand_over(name, max(wanted, logging.INFO))
    for name in SILENT:
        _hand_over(name, logging.CRITICAL + 1)


def _hand_over(name: str, level: int) -> None:
    """Take a server's own handlers away, so that its lines reach ours."""
    logger = logging.getLogger(name)
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(level)


def _name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Tell a library's line by its logger."""
    event["logger"] = event["_record"].name
    return event


def _first_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep only the headline of a library's message: asyncio prints exceptions with their values below."""
    event["event"] = str(event.get("event", "")).partition("\n")[0]
    return event


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))
