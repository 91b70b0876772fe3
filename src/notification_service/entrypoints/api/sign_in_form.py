"""The form of a sign-in for programs, and the patience with wrong ones."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Literal

from pydantic import ConfigDict

from notification_service.entrypoints.api.fields import Password, UserId
from notification_service.entrypoints.api.problems import TooManyAttemptsError
from notification_service.entrypoints.api.requests import Body

MOST_FAILURES = 10
FAILURES_COUNT_FOR = timedelta(minutes=5)
REMEMBERED = 10_000


class SignInForm(Body):
    """What OAuth2 password clients send (RFC 6749, 4.3.2); only the name and the password are used."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "ann", "password": "correct horse"}]}
    )

    username: UserId
    password: Password
    grant_type: Literal["password", ""] = "password"
    scope: str = ""
    client_id: str = ""
    client_secret: str = ""


class Guesses:
    """Counts failed attempts for each name and address, in this process."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def require_patience(self, name: str, address: str) -> None:
        """Raise `TooManyAttemptsError` after too many failures within a few minutes."""
        count, until = self._failures.get((name, address), (0, 0.0))
        wait = until - self._clock()
        if count >= MOST_FAILURES and wait > 0:
            raise TooManyAttemptsError(timedelta(seconds=wait))

    def failed(self, name: str, address: str) -> None:
        """Note a failure; the count starts anew some minutes after the first one."""
        now = self._clock()
        count, until = self._failures.pop((name, address), (0, 0.0))
        if until <= now:
            count, until = 0, now + FAILURES_COUNT_FOR.total_seconds()
        self._failures[(name, address)] = count + 1, until
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures before."""
        self._failures.pop((name, address), None)
