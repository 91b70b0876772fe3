"""The running site, and people who visit it with a browser."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from uuid_utils.compat import uuid7

from notification_service.bootstrap import Service
from notification_service.domain.mailbox import MailboxMessage, MailboxMessageId
from notification_service.domain.notification import NotificationId
from notification_service.domain.people import Principal, Role
from notification_service.entrypoints.api.app import create_app
from notification_service.entrypoints.server import ServerOptions, listen, serve, url_of
from notification_service.entrypoints.web.sessions import secret_hash
from notification_service.settings import Settings

PATIENCE = timedelta(seconds=15)


@dataclass(frozen=True)
class Site:
    """A service with its site, under a real address."""

    url: str
    service: Service
    stop: asyncio.Event

    async def link(self, user: str, role: Role = Role.USER) -> str:
        secret = secrets.token_urlsafe(32)
        await self.service.sessions.add_link(
            secret_hash(secret), Principal(user, role), lifetime=timedelta(minutes=5)
        )
        return f"{self.url}/link/{secret}"

    async def put(self, user: str, **fields: Any) -> MailboxMessage:
        """Put a message into the mailbox, as a worker of another process would."""
        given: dict[str, Any] = {
            "channel": "email",
            "to": "ann@example.com",
            "subject": "Hello",
            "text": "It works.",
            "html": None,
            "headers": {},
        }
        message = MailboxMessage(
            id=MailboxMessageId(uuid7()),
            notification_id=NotificationId(uuid7()),
            user_id=user,
            received_at=datetime.now(UTC),
            **(given | fields),
        )
        await self.service.mailbox.put_many([message])
        return message

    async def send(self, user: str, channel: dict[str, str], body: str) -> None:
        """Send a notification over the API, from the front door on."""
        token = self.service.tokens.issue(Principal(user), lifetime=timedelta(minutes=5))
        content = {"user_id": user, "channel": channel, "body": body}
        async with httpx.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {token}"}
        ) as client:
            (await client.post("/v1/notifications", json=content)).raise_for_status()

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Give a client that keeps cookies and follows nothing, as if a person asked for pages."""
        headers = {"accept": "text/html", **options.pop("headers", {})}
        return httpx.AsyncClient(base_url=self.url, headers=headers, **options)


@asynccontextmanager
async def running_site(folder: Path, **settings: Any) -> AsyncGenerator[Site]:
    """Run the whole service with its worker."""
    given = {"environment": "development", "data_dir": folder, "database_url": f"sqlite:///{folder}/site.db"}
    application = create_app(Settings(**(given | settings)), with_worker=True)
    sockets, stop, listening = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()

    async def on_listening() -> None:
        listening.set()

    options = ServerOptions(shutdown=timedelta(seconds=20))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(application, sockets, options=options, stop=stop, on_listening=on_listening))
        await listening.wait()
        await application.state.service.prepared.wait()
        try:
            yield Site(url_of(sockets[0]), application.state.service, stop)
        finally:
            stop.set()


@dataclass
class Visitor:
    """Somebody with a browser; `complaints` is what the browser found wrong with the page."""

    user: str
    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)
    may_complain: bool = False

    def watch(self) -> None:
        self.page.set_default_timeout(PATIENCE.total_seconds() * 1000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    async def put(self, **fields: Any) -> MailboxMessage:
        return await self.site.put(self.user, **fields)

    async def sign_in(self, role: Role = Role.USER) -> None:
        await self.page.goto(await self.site.link(self.user, role))
        await self.page.wait_for_selector("#connection[data-state=live]")

    def row(self, text: str) -> Any:
        return self.page.locator(".row", has_text=text)

    async def titles(self) -> list[str]:
        return await self.page.locator(".row .title").all_text_contents()


@asynccontextmanager
async def visiting(site: Site, browser: Browser, **options: Any) -> AsyncGenerator[Visitor]:
    """Open a browser window of a new person; it must have nothing to complain about in the end."""
    expect.set_options(timeout=PATIENCE.total_seconds() * 1000)
    context = await browser.new_context(base_url=site.url, **options)
    visitor = Visitor(f"ann-{uuid4().hex[:8]}", await context.new_page(), site)
    visitor.watch()
    yield visitor
    await context.close()
    assert visitor.may_complain or not visitor.complaints
