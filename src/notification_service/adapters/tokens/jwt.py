"""JSON Web Tokens signed with one shared secret (RFC 7519)."""

import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from notification_service.domain.errors import NotAuthenticatedError
from notification_service.domain.people import Principal, Role
from notification_service.domain.text import without_nul

LEEWAY = timedelta(seconds=30)
LONGEST_TOKEN = 8_192
LONGEST_SUBJECT = 255
REMEMBERED_TOKENS = 10_000


class JwtTokens:
    """Issues and checks tokens of one algorithm; a checked token is remembered until it expires."""

    def __init__(
        self,
        secret: str,
        *,
        algorithm: str = "HS256",
        issuer: str | None = None,
        audience: str | None = None,
        leeway: timedelta = LEEWAY,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`iss` and `aud` are written and required only when given; clocks may differ by `leeway`."""
        self._secret = secret
        self._algorithm = algorithm
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway.total_seconds()
        self._clock = clock
        self._verified: OrderedDict[str, tuple[Principal, float]] = OrderedDict()

    def issue(self, principal: Principal, *, lifetime: timedelta) -> str:
        """Return a token for the principal that is valid for `lifetime`."""
        now = self._clock()
        claims = {
            "sub": principal.subject,
            "role": principal.role.value,
            "iat": int(now.timestamp()),
            "exp": math.ceil((now + lifetime).timestamp()),
            "jti": uuid4().hex,
            "iss": self._issuer,
            "aud": self._audience,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(present, self._secret, algorithm=self._algorithm)

    def verify(self, token: str) -> Principal:
        """Return whom the token speaks for; raises `NotAuthenticatedError` for every other token."""
        now = self._clock().timestamp()
        principal, expires = self._verified.get(token) or self._check(token, now)
        if now >= expires:
            self._verified.pop(token, None)
            raise NotAuthenticatedError
        return principal

    def _check(self, token: str, now: float) -> tuple[Principal, float]:
        claims = self._decode(token)
        expires = _seconds(claims["exp"]) + self._leeway
        if _seconds(claims.get("nbf", 0)) - self._leeway > now:
            raise NotAuthenticatedError
        checked = Principal(_subject(claims["sub"]), _role(claims.get("role", Role.USER.value))), expires
        if now < expires:
            self._remember(token, checked)
        return checked

    def _decode(self, token: str) -> dict[str, Any]:
        required = ["sub", "exp", *(["iss"] if self._issuer else []), *(["aud"] if self._audience else [])]
        if len(token) > LONGEST_TOKEN:
            raise NotAuthenticatedError
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # The times are compared above: by our own clock, and again each time a token comes back.
                options={
                    "require": required,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": self._audience is not None,
                    "verify_iss": self._issuer is not None,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise NotAuthenticatedError from None

    def _remember(self, token: str, checked: tuple[Principal, float]) -> None:
        self._verified[token] = checked
        if len(self._verified) > REMEMBERED_TOKENS:
            self._verified.popitem(last=False)


def _subject(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_SUBJECT:
        raise NotAuthenticatedError
    try:
        return without_nul(value)
    except ValueError:
        raise NotAuthenticatedError from None


def _role(value: object) -> Role:
    if not isinstance(value, str) or value not in Role:
        raise NotAuthenticatedError
    return Role(value)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAuthenticatedError
    try:
        seconds = float(value)
    except OverflowError:
        raise NotAuthenticatedError from None
    if not math.isfinite(seconds):
        raise NotAuthenticatedError
    return seconds
