"""Puts the HTTP API and the site together into one ASGI application."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from notification_service.application.worker import Worker
from notification_service.bootstrap import open_service
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
from notification_service.settings import Settings

# In the order in which they are tried and shown: what is called most comes first.
ROOMS = (notifications, bulk, flat, health, tokens, dead_letters, mailbox, reference)


def create_app(settings: Settings, *, with_worker: bool = False) -> FastAPI:
    """Return the application; it opens the service when it starts and closes it when it ends.

    `with_worker` delivers in this very process, too.
    """
    app = FastAPI(
        title="Notification service",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, with_worker=with_worker),
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
    app.user_middleware.append(Middleware(Doorway, templates=_templates(app.routes)))
    return app


def _lifespan(settings: Settings, *, with_worker: bool) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.state.bulk_places = asyncio.Semaphore(bulk.PLACES)
        app.state.cursors = Cursors(settings.jwt_secret.get_secret_value())
        async with open_service(settings) as service:
            app.state.service = service
            async with _working(service.worker) if with_worker else nullcontext():
                yield

    return lifespan


@asynccontextmanager
async def _working(worker: Worker) -> AsyncGenerator[None]:
    """Deliver while the block runs; what is in hand at its end is written down first.

    A worker that breaks ends the block, and with it the process: accepting without delivering helps nobody.
    """
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stopping=stopping))
        try:
            yield
        finally:
            stopping.set()


def _templates(routes: list[BaseRoute]) -> dict[object, str]:
    return {route.endpoint: route.path for route in routes if isinstance(route, Route)}
