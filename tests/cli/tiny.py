"""A small application under the real server, so that a test of the server needs no store.

`python -m tests.cli.tiny PORT [--processes N] [--patience S] [--arrival S] [--trust NET] [--start MODE]`
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from notification_service.domain.errors import StoreUnavailableError
from notification_service.entrypoints import guarded_http
from notification_service.entrypoints.cli.console import guarded
from notification_service.entrypoints.cli.supervisor import Supervisor
from notification_service.entrypoints.server import ServerOptions, listen, run, serve
from notification_service.entrypoints.stopping import stop_signals


async def _pid(_: Request) -> Response:
    return PlainTextResponse(str(os.getpid()))


async def _slow(request: Request) -> Response:
    print("slow began", flush=True)
    await asyncio.sleep(float(request.query_params.get("seconds", "1")))
    return PlainTextResponse("slow")


async def _stuck(_: Request) -> Response:
    print("stuck", flush=True)
    time.sleep(60)  # noqa: ASYNC251 - the event loop hangs, which is the point
    return PlainTextResponse("never")


async def _client(request: Request) -> Response:
    return JSONResponse({"client": request.client and request.client.host, "scheme": request.url.scheme})


async def _body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


ROUTES = [
    Route("/pid", _pid),
    Route("/slow", _slow),
    Route("/stuck", _stuck),
    Route("/client", _client),
    Route("/body", _body, methods=["POST"]),
]


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    if ARGUMENTS.start == "wait":
        print("waiting", flush=True)
        await asyncio.sleep(600)
    if ARGUMENTS.start == "fail":
        raise StoreUnavailableError
    if ARGUMENTS.start == "fail-later" and not _is_first():
        raise StoreUnavailableError
    yield
    print("ended", os.getpid(), flush=True)


def _is_first() -> bool:
    """Whether fewer children than there are to be have started before."""
    with Path(ARGUMENTS.started).open("a+") as file:
        file.write("x")
        file.flush()
        return file.tell() <= ARGUMENTS.processes


def _serve(sockets, serves=lambda: None, *, hasty: bool = True) -> int:
    async def listening() -> None:
        serves()
        print("listening", os.getpid(), flush=True)

    async def main() -> int:
        patience = timedelta(seconds=ARGUMENTS.patience)
        options = ServerOptions(shutdown=patience, trusted_proxies=tuple(ARGUMENTS.trust))
        with stop_signals(patience, hasty=hasty) as stop:
            application = Starlette(routes=ROUTES, lifespan=_lifespan)
            await serve(application, sockets, options=options, stop=stop, on_listening=listening)
        return 0

    return guarded("tiny", lambda: run(main()))


def _main() -> int:
    guarded_http.ARRIVAL_SECONDS = ARGUMENTS.arrival
    if ARGUMENTS.processes == 1:
        return _serve(listen("127.0.0.1", ARGUMENTS.port))
    sockets = listen("127.0.0.1", ARGUMENTS.port, shares=ARGUMENTS.processes)
    patience = timedelta(seconds=ARGUMENTS.patience)
    return Supervisor(
        lambda listening, serves: _serve([listening], serves, hasty=False), sockets, patience=patience
    ).run()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser()
    _parser.add_argument("port", type=int)
    _parser.add_argument("--processes", type=int, default=1)
    _parser.add_argument("--patience", type=float, default=10)
    _parser.add_argument("--arrival", type=float, default=60)
    _parser.add_argument("--trust", action="append", default=[])
    _parser.add_argument("--start", default="well")
    _parser.add_argument("--started")
    ARGUMENTS = _parser.parse_args()
    raise SystemExit(_main())
