"""Patience with those who guess passwords: after some failures the next attempt has to wait."""

import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from time import monotonic

from notification_service.domain.errors import InvalidCredentialsError, NotificationServiceError

MOST_FAILURES = 10
FAILURES_COUNT_FOR = timedelta(minutes=5)
COUNTERS = 16_384


class TooManyAttemptsError(NotificationServiceError):
    """too many failed attempts to sign in; try again later"""

    code = "too_many_attempts"

    def __init__(self, retry_after: timedelta) -> None:
        """Say when the next attempt is looked at."""
        super().__init__()
        self.retry_after = retry_after


class Patience:
    """Counts failed attempts for each name and address, in this process.

    A name and an address always share the same one of a fixed number of counters, found by a secret hash. So
    the memory is bounded, and nothing is ever evicted: a flood of made-up names cannot make a counter forget.
    Two that share a counter by chance only lose some patience. To use up everybody's takes more failures than
    a machine can hash passwords for: 6,000 in five minutes leave each counter below one on average.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._failures: dict[int, tuple[int, float]] = {}

    @contextmanager
    def attempt(self, name: str, address: str) -> Generator[None]:
        """Count an attempt while the block looks at it, and keep it counted when its credentials are wrong.

        It counts from the beginning, so that many at once are no way around. Success forgets all failures; an
        attempt that nobody could judge was none. Raises `TooManyAttemptsError` when there were too many.
        """
        counter = self._counter(name, address)
        self._count(counter)
        try:
            yield
        except InvalidCredentialsError:
            raise
        except BaseException:
            self._take_back(counter)
            raise
        self._failures.pop(counter, None)

    def _count(self, counter: int) -> None:
        now = self._clock()
        count, until = self._failures.get(counter, (0, 0.0))
        if until <= now:
            count, until = 0, now + FAILURES_COUNT_FOR.total_seconds()
        if count >= MOST_FAILURES:
            raise TooManyAttemptsError(timedelta(seconds=until - now))
        self._failures[counter] = count + 1, until

    def _take_back(self, counter: int) -> None:
        count, until = self._failures.get(counter, (0, 0.0))
        self._failures[counter] = max(0, count - 1), until

    def _counter(self, name: str, address: str) -> int:
        who = f"{_origin(address)} {name}".encode(errors="surrogatepass")
        return int.from_bytes(blake2b(who, key=self._secret, digest_size=8).digest()) % COUNTERS


def _origin(address: str) -> str:
    """Of IPv6 the first half alone: the smallest network anybody is given has 2^64 addresses (RFC 6177)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.packed[:8].hex()
