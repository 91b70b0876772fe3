"""What `notify doctor` looks at: each check says how a part is and, when it isn't well, what to do."""

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import httpx

from notification_service.bootstrap import Service
from notification_service.domain.errors import DeliveryError, NotificationServiceError
from notification_service.entrypoints.addresses import reachable_url
from notification_service.entrypoints.cli.console import CommandError
from notification_service.entrypoints.cli.database import opened
from notification_service.entrypoints.server import CannotListenError, listen
from notification_service.ports import Provider
from notification_service.settings import Settings, warnings

CLOCK_TOLERANCE = timedelta(seconds=2)
PROVIDER_PATIENCE = 10.0

type State = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor's."""

    name: str
    state: State
    detail: str
    remedy: str | None = None


def examine(settings: Settings) -> list[Check]:
    """Look at everything; one broken part doesn't hide the others."""
    return [
        *(check_settings(settings)),
        check_data_folder(settings.data_dir),
        *asyncio.run(_inside(settings)),
        check_server(settings),
    ]


def check_settings(settings: Settings) -> Iterator[Check]:
    """Warn of what is allowed and yet risky, and of names that nothing reads."""
    found = warnings(settings)
    if not found:
        yield Check(name="settings", state="ok", detail=f"fit for {settings.environment}")
    for line in found:
        yield Check(name="settings", state="warning", detail=line)


def check_data_folder(folder: Path) -> Check:
    """Look whether the folder can be written, and by its owner alone."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            mode = folder.stat().st_mode
    except FileNotFoundError:
        return Check(name="data folder", state="ok", detail=f"{folder} is not there; nothing needs it yet")
    except OSError as error:
        remedy = f"make it writable for {os.geteuid()} (uid), or set NS_DATA_DIR"
        return Check(name="data folder", state="broken", detail=f"{folder}: {error.strerror}", remedy=remedy)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        detail = f"{folder} is open to other users of this machine"
        return Check(name="data folder", state="warning", detail=detail, remedy=f"chmod go-rwx {folder}")
    return Check(name="data folder", state="ok", detail=f"{folder} is writable, for its owner alone")


def check_server(settings: Settings) -> Check:
    """Look whether the service answers on its port, or could."""
    try:
        [free] = listen(settings.host, settings.port)
    except CannotListenError as error:
        return _who_listens(settings, error)
    with free:
        return Check(
            name="server", state="ok", detail=f"port {settings.port} is free; start it: notify up, or app"
        )


def check_clock(service: Service) -> Check:
    """Compare this machine's clock with the database's, which leases and due times go by."""
    behind = service.store.now() - datetime.now(UTC)
    detail = f"{abs(behind).total_seconds():.1f} s from the database's"
    if abs(behind) <= CLOCK_TOLERANCE:
        return Check(name="clock", state="ok", detail=detail)
    return Check(name="clock", state="warning", detail=detail, remedy="let NTP set both machines' clocks")


async def check_database(service: Service) -> Check:
    """Ask the database for its version; that its tables are up to date was seen when it was opened."""
    return Check(
        name="database", state="ok", detail=f"{await service.store.check()}, its tables are up to date"
    )


async def check_limiter(service: Service) -> Check:
    """Ask the rate limiter where it counts."""
    try:
        return Check(name="rate limiter", state="ok", detail=await service.limiter.check())
    except NotificationServiceError as error:
        remedy = "start Redis, or correct NS_REDIS_URL"
        return Check(name="rate limiter", state="broken", detail=str(error), remedy=remedy)


async def check_provider(provider: Provider) -> Check:
    """Reach a provider without sending anything."""
    name = f"provider {provider.name}"
    remedy = f"look at the settings of {provider.name}, and whether it can be reached from here"
    try:
        async with asyncio.timeout(PROVIDER_PATIENCE):
            return Check(name=name, state="ok", detail=await provider.check())
    except DeliveryError as error:
        return Check(name=name, state="broken", detail=error.detail, remedy=remedy)
    except TimeoutError:
        detail = f"no answer within {PROVIDER_PATIENCE:.0f} s"
        return Check(name=name, state="broken", detail=detail, remedy=remedy)


async def _inside(settings: Settings) -> list[Check]:
    try:
        async with opened(settings) as service:
            return [check async for check in _dependencies(service)]
    except (CommandError, NotificationServiceError) as error:
        detail, _, remedy = str(error).partition("; ")
        broken = Check(name="database", state="broken", detail=detail, remedy=remedy or None)
        rest = Check(name="providers", state="warning", detail="not looked at without the database")
        return [broken, rest]


async def _dependencies(service: Service) -> AsyncIterator[Check]:
    yield await check_database(service)
    yield check_clock(service)
    yield await check_limiter(service)
    for provider in service.providers:
        yield await check_provider(provider)


def _who_listens(settings: Settings, error: CannotListenError) -> Check:
    url = reachable_url(settings.host, settings.port)
    try:
        health = httpx.get(f"{url}/health/ready", timeout=5).json()
        state, unwell = health["status"], _unwell(health["checks"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        detail, _, remedy = str(error).partition("; ")
        return Check(name="server", state="broken", detail=f"{detail} by something else", remedy=remedy)
    if unwell:
        return Check(name="server", state="warning", detail=f"{url} is {state}: {unwell}")
    return Check(name="server", state="ok", detail=f"{url} is {state}")


def _unwell(checks: dict[str, dict[str, str]]) -> str:
    return ", ".join(f"{name} {check['status']}" for name, check in checks.items() if check["status"] != "up")
