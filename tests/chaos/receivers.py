"""Those who are notified: a webhook receiver and a mail server, in a process that nobody kills.

Arguments: the seed, how they behave (polite or any), the seconds one stalls, the ledger. It says its two
ports, writes every contact into the ledger before it answers, and ends with its standard input.
"""

import asyncio
import json
import logging
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TextIO

import uvloop
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope

from tests.chaos.behaviour import Behaviour, Deed
from tests.chaos.plan import BODY
from tests.providers.smtp_peer import post_office

LONGEST_ANSWER = 0.05
NUMBER = re.compile(BODY.format(number=r"(\d+)", seed=r"\d+"))
MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([0-9a-f-]{36})@", re.MULTILINE | re.IGNORECASE)


@dataclass
class Receivers:
    """What both have in common."""

    behaviour: Behaviour
    stall_seconds: float
    ledger: TextIO
    contacts: Counter[str] = field(default_factory=Counter)

    async def webhook(self, request: web.Request) -> web.Response:
        """Take, refuse, stall or hang up."""
        document = json.loads(await request.read())
        done = self._meet(request.headers["webhook-id"], document["data"]["body"])
        await asyncio.sleep(self._seconds(done))
        if done is Deed.CUT and request.transport:
            request.transport.abort()
        return web.Response(status={Deed.REFUSE: 503, Deed.FORBID: 410}.get(done, 204))

    async def mail(self, server: SMTP, envelope: Envelope) -> str:
        """The same for a whole message of SMTP."""
        content = envelope.content
        assert isinstance(content, bytes)
        found = MESSAGE_ID.search(content)
        done = self._meet(found[1].decode() if found else "", content.decode(errors="replace"))
        await asyncio.sleep(self._seconds(done))
        if done is Deed.CUT and server.transport:
            server.transport.abort()  # type: ignore[attr-defined]  # every TCP connection has it
        return {Deed.REFUSE: "451 later", Deed.FORBID: "550 never"}.get(done, "250 taken")

    def _meet(self, notification_id: str, text: str) -> Deed:
        """Decide what to do and write it down."""
        self.contacts[notification_id] += 1
        found = NUMBER.search(text)
        number = int(found[1]) if found else -1
        done = self.behaviour.deed(number, self.contacts[notification_id])
        line = [notification_id, number, str(done), time.time()]
        self.ledger.write(json.dumps(line) + "\n")
        self.ledger.flush()
        return done

    def _seconds(self, done: Deed) -> float:
        match done:
            case Deed.STALL:
                return self.stall_seconds
            case Deed.TAKE_SLOWLY:
                return random.uniform(0.1, 0.3) * self.stall_seconds
            case _:
                return random.uniform(0, LONGEST_ANSWER)


async def _receive(receivers: Receivers) -> None:
    application = web.Application()
    application.router.add_post("/hook", receivers.webhook)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        async with post_office() as post:
            post.after_content = receivers.mail
            print(runner.addresses[0][1], post.port, flush=True)
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()


def main() -> None:
    """Receive as told until standard input closes."""
    seed, manners, stall_seconds, path = sys.argv[1:]
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # hanging up is what these servers are for
    behaviour = Behaviour(int(seed), polite=manners == "polite")
    ledger: Any
    with open(path, "a") as ledger:  # noqa: PTH123 - nothing but its name is known here
        uvloop.run(_receive(Receivers(behaviour, float(stall_seconds), ledger)))


if __name__ == "__main__":
    main()
