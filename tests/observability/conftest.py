"""Each test gets the log and the traces as a fresh process has them."""

import logging
import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from notification_service.observability import tracing

TOUCHED = ("", "notification_service", "uvicorn.error", "uvicorn.access", "_granian", "granian.access")


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what configuring changes in the whole process."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    hook = sys.excepthook
    before = {name: _state(name) for name in TOUCHED}

    yield

    tracing.shutdown()
    logging.captureWarnings(False)
    sys.excepthook = hook
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for name, (handlers, level, propagate) in before.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def _state(name: str) -> tuple[list[logging.Handler], int, bool]:
    logger = logging.getLogger(name)
    return list(logger.handlers), logger.level, logger.propagate
