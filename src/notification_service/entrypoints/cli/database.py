"""The service as a command opens it: for one question, and without waiting long for the database."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from notification_service.bootstrap import Service, migrate, open_service
from notification_service.entrypoints.cli.console import CommandError, ExitCode
from notification_service.observability import logging
from notification_service.settings import Settings

PATIENCE_SECONDS = 6.0


def with_service[Result](settings: Settings, action: Callable[[Service], Awaitable[Result]]) -> Result:
    """Return what an action gets out of the service."""

    async def main() -> Result:
        async with opened(settings) as service:
            return await action(service)

    return asyncio.run(main())


def migrate_now(settings: Settings) -> tuple[str | None, str | None]:
    """Bring the tables up to date; return the revisions before and after."""
    _only_errors(settings)
    return asyncio.run(migrate(settings))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Service]:
    """Open the service; raises `CommandError` when its database doesn't answer."""
    _only_errors(settings)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS) as opening, open_service(settings) as service:
            await service.prepare()
            opening.reschedule(None)
            yield service
    except TimeoutError:
        if not opening.expired():
            raise
        raise CommandError(
            "the database does not answer; start it, or correct NS_DATABASE_URL", ExitCode.UNREACHABLE
        ) from None


def _only_errors(settings: Settings) -> None:
    """A command says itself what happened; a log between its lines would be noise."""
    logging.configure("error", service_name=settings.service_name, process="notify")
