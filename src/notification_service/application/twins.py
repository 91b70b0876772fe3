"""Equal requests at the same moment: the later ones wait for what becomes of the first."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from notification_service.domain.acceptance import IdempotencyKey
from notification_service.domain.errors import UnavailableError


class Twins:
    """Requests with the same idempotency key in this process.

    A twin must not use up its receiver's limit while the first one's answer is on its way, nor read an answer
    that may still change: what it hears would depend on how many twins there are and when they came.
    """

    def __init__(self) -> None:
        """Nothing is running."""
        self._running: dict[tuple[str, str], asyncio.Future[UnavailableError | None]] = {}

    @asynccontextmanager
    async def after_the_first(self, key: IdempotencyKey) -> AsyncGenerator[None]:
        """Run the block once no other with this key runs, or at once when it is the first.

        Those that waited for the same one run together. Raises the `UnavailableError` that it met: they would
        meet it as well, and wait twice as long.
        """
        name = (key.caller, key.key)
        if first := self._running.get(name):
            await asyncio.wait([first])
            if error := first.result():
                raise error
        ended: asyncio.Future[UnavailableError | None] = asyncio.get_running_loop().create_future()
        is_first, met = self._running.setdefault(name, ended) is ended, None
        try:
            yield
        except UnavailableError as error:
            met = error
            raise
        finally:
            if is_first:
                del self._running[name]
                ended.set_result(met)
