"""Puts the HTTP API and the site together into one ASGI application."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from notification_service.bootstrap import Service, open_service
from notification_service.domain.errors import NotificationServiceError
from notification_service.entrypoints import web
from notification_service.entrypoints.api.cursors import Cursors
from notification_service.entrypoints.api.doorway import Doorway
from notification_service.entrypoints.api.errors import on_http_exception, on_known_error, on_timeout
from notification_service.entrypoints.api.routes import (
    bulk,
    dead_letters,
    flat,
    health,
    mailbox,
    notifications,
    reference,
    tokens,
)
from notification_service.entrypoints.stopping import abandoned_by
from notification_service.settings import Settings

# In the order in which they are tried and shown: what is called most comes first.
ROOMS = (notifications, bulk, flat, health, tokens, dead_letters, mailbox, reference)


def create_app(
    settings: Settings, *, with_worker: bool = False, stopping: asyncio.Event | None = None
) -> FastAPI:
    """Return the application; it opens the service when it starts and closes it when it ends.

    `with_worker` delivers in this very process, too. Once `stopping` is set nothing more is claimed, while
    the last requests are still answered.
    """
    app = FastAPI(
        title="Notification service",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, with_worker=with_worker, stopping=stopping or asyncio.Event()),
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers={
            NotificationServiceError: on_known_error,
            HTTPException: on_http_exception,
            TimeoutError: on_timeout,
        },
    )
    for room in ROOMS:
        app.router.routes.extend(room.routes.routes)
    app.router.routes.extend(web.routes)
    app.state.error_page = web.error_page
    app.user_middleware.append(Middleware(Doorway, templates=_templates(app.routes)))
    return app


def _lifespan(settings: Settings, *, with_worker: bool, stopping: asyncio.Event) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.state.bulk_places = asyncio.Semaphore(bulk.PLACES)
        app.state.cursors = Cursors(settings.jwt_secret.get_secret_value())
        async with open_service(settings) as service:
            app.state.service = service
            work = service.worker.run if with_worker else service.sweep.watch
            async with _working(_prepared(service, work, stopping), stopping):
                yield

    return lifespan


async def _prepared(service: Service, work: Callable[..., Awaitable[None]], stopping: asyncio.Event) -> None:
    async with abandoned_by(stopping) as started:
        await service.prepare()
        started()
        await work(stopping=stopping)


@asynccontextmanager
async def _working(work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> AsyncGenerator[None]:
    """Work while the block runs; what is in hand at its end is written down first.

    A worker that breaks ends the block, and with it the process: accepting without delivering helps nobody.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work)
        try:
            yield
        finally:
            stopping.set()


def _templates(routes: list[BaseRoute]) -> dict[object, str]:
    return {route.endpoint: route.path for route in routes if isinstance(route, Route)}
