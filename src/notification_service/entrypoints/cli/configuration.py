"""The settings as a command sees them: from the environment and `.env`, with its own options on top."""

import getpass
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog

from notification_service.entrypoints.cli.console import CommandError, ExitCode
from notification_service.observability import logging
from notification_service.observability.tracing import tracing
from notification_service.settings import Settings, SettingsError, load_settings, warnings
from notification_service.settings.variables import read_variables


def settings_with(**options: Any) -> Settings:
    """Return the settings, with every option that isn't None in place of the setting of its name."""
    given = {name: value for name, value in options.items() if value is not None}
    return _told(lambda: load_settings(**given))


def configure_logging(settings: Settings, process: str) -> None:
    """Let this process log as the settings say."""
    logging.configure(
        settings.log_level, format=settings.log_format, service_name=settings.service_name, process=process
    )


def traced(settings: Settings, process: str) -> AbstractAsyncContextManager[None]:
    """Trace within the block as the settings say."""
    endpoint = settings.otel_exporter_otlp_endpoint
    return tracing(settings.service_name, process, endpoint=endpoint)


def warn_of(settings: Settings) -> None:
    """Log what is allowed and yet risky or without effect."""
    for line in warnings(settings):
        structlog.get_logger().warning("setting_warning", setting=line)


def variable(name: str) -> str | None:
    """Return a variable of the command line itself, from the environment or `.env`."""
    found = _told(read_variables).get(name)
    return found.value if found else None


def operator() -> str:
    """Return the name under which a person at this machine acts."""
    try:
        return getpass.getuser()
    except OSError:  # a container's user need not have a name
        return "operator"


def _told[Result](read: Callable[[], Result]) -> Result:
    """Make what is wrong with the settings one line for each setting."""
    try:
        return read()
    except SettingsError as error:
        raise CommandError("\n  ".join(error.problems), ExitCode.USAGE) from None
