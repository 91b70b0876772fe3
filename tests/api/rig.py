"""The API in this process, and callers of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from notification_service.bootstrap import Service
from notification_service.domain.people import Principal, Role
from notification_service.entrypoints.api.app import create_app
from notification_service.settings import Settings


@dataclass(frozen=True)
class Api:
    """One running application."""

    app: FastAPI

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def token(self, subject: str, role: Role = Role.USER) -> str:
        return self.service.tokens.issue(Principal(subject, role), lifetime=timedelta(hours=1))

    def caller(self, subject: str, role: Role = Role.USER) -> httpx.AsyncClient:
        return self.client({"Authorization": f"Bearer {self.token(subject, role)}"})

    def client(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers)


@asynccontextmanager
async def an_api(settings: Settings, *, with_worker: bool = False) -> AsyncIterator[Api]:
    app = create_app(settings, with_worker=with_worker)
    async with LifespanManager(app):
        await app.state.service.prepared.wait()
        yield Api(app)


def email(user_id: str, /, **changes: Any) -> dict[str, Any]:
    """Return the body of an ordinary email."""
    channel = {"type": "email", "to": "ann@example.com", "subject": "A parcel"}
    return {"user_id": user_id, "channel": channel, "body": "It arrives tomorrow.", **changes}


def ahead(**by: float) -> str:
    """Return a time so far from now."""
    return (datetime.now(UTC) + timedelta(**by)).isoformat()


def problems(response: httpx.Response) -> dict[str, str]:
    """Return the fields a 422 complains about; whatever else it is fails the test."""
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {error["field"]: error["message"] for error in response.json()["errors"]}


type Caller = Callable[..., httpx.AsyncClient]
