"""JwtTokens: what is issued is accepted, and nothing else is."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from notification_service.adapters.tokens import jwt as module
from notification_service.adapters.tokens.jwt import JwtTokens
from notification_service.domain.errors import NotAuthenticatedError
from notification_service.domain.people import Principal, Role

SECRET = "a secret of at least thirty-two bytes"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = NOW.timestamp()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> JwtTokens:
    return JwtTokens(SECRET, clock=clock)


def _token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    claims = {"sub": "ann", "exp": SECONDS + 60} | claims
    kept = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(kept, secret, algorithm=algorithm)


def test_an_issued_token_is_accepted(tokens: JwtTokens) -> None:
    principal = Principal("ann", Role.ADMIN)

    assert tokens.verify(tokens.issue(principal, lifetime=timedelta(hours=1))) == principal


def test_a_token_says_what_the_contract_says(tokens: JwtTokens) -> None:
    token = tokens.issue(Principal("ann"), lifetime=timedelta(hours=1))

    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"sub", "role", "iat", "exp", "jti"}
    assert (claims["sub"], claims["role"]) == ("ann", "user")
    assert (claims["iat"], claims["exp"]) == (SECONDS, SECONDS + 3600)


def test_no_two_tokens_are_the_same(tokens: JwtTokens) -> None:
    issued = {tokens.issue(Principal("ann"), lifetime=timedelta(hours=1)) for _ in range(3)}

    assert len(issued) == 3


def test_the_role_is_user_unless_the_token_says_otherwise(tokens: JwtTokens) -> None:
    assert tokens.verify(_token()) == Principal("ann", Role.USER)
    assert tokens.verify(_token(role="admin")) == Principal("ann", Role.ADMIN)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": ...}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "s" * 256}, {"sub": "a\x00"},
        {"exp": ...}, {"exp": None}, {"exp": "4000000000"}, {"exp": True}, {"exp": []}, {"exp": float("nan")},
        {"exp": float("inf")}, {"exp": 10**400},
        {"role": None}, {"role": ""}, {"role": "root"}, {"role": "Admin"}, {"role": ["admin"]}, {"role": 1},
        {"nbf": SECONDS + 31}, {"nbf": "now"},
    ],
    ids=str,
)  # fmt: skip
def test_claims_that_are_not_right_are_refused(tokens: JwtTokens, claims: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticatedError):
        tokens.verify(_token(**claims))


def test_a_subject_of_255_characters_is_the_longest(tokens: JwtTokens) -> None:
    assert tokens.verify(_token(sub="s" * 255)).subject == "s" * 255


def test_clocks_may_differ_by_half_a_minute(tokens: JwtTokens) -> None:
    assert tokens.verify(_token(exp=SECONDS - 29))
    assert tokens.verify(_token(nbf=SECONDS + 29))
    with pytest.raises(NotAuthenticatedError):
        tokens.verify(_token(exp=SECONDS - 30))


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "...", "ü", "x" * 10_000, "a." * 5_000])
def test_what_is_no_token_is_refused(tokens: JwtTokens, token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        tokens.verify(token)


def test_another_secret_is_refused(tokens: JwtTokens) -> None:
    with pytest.raises(NotAuthenticatedError):
        tokens.verify(_token(secret="another secret of thirty-two bytes!!"))


def test_only_the_one_algorithm_is_accepted(tokens: JwtTokens) -> None:
    longer = _token(algorithm="HS512", secret=SECRET * 2)
    with pytest.raises(NotAuthenticatedError):
        JwtTokens(SECRET * 2, clock=lambda: NOW).verify(longer)


def test_a_token_without_a_signature_is_refused(tokens: JwtTokens) -> None:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': 'ann', 'exp': SECONDS + 60})}."

    with pytest.raises(NotAuthenticatedError):
        tokens.verify(unsigned)


def test_issuer_and_audience_count_only_when_they_are_set(clock: Clock, tokens: JwtTokens) -> None:
    choosy = JwtTokens(SECRET, issuer="us", audience="here", clock=clock)

    assert choosy.verify(_token(iss="us", aud="here"))
    assert choosy.verify(_token(iss="us", aud=["there", "here"]))
    assert choosy.verify(choosy.issue(Principal("ann"), lifetime=timedelta(hours=1)))
    assert tokens.verify(_token(iss="anybody", aud="anywhere"))
    for claims in (
        {},
        {"iss": "us"},
        {"aud": "here"},
        {"iss": "them", "aud": "here"},
        {"iss": "us", "aud": "there"},
    ):
        with pytest.raises(NotAuthenticatedError):
            choosy.verify(_token(**claims))


def test_a_remembered_token_expires_all_the_same(clock: Clock, tokens: JwtTokens) -> None:
    token = tokens.issue(Principal("ann"), lifetime=timedelta(seconds=60))
    tokens.verify(token)

    clock.now = NOW + timedelta(seconds=89)
    tokens.verify(token)
    clock.now = NOW + timedelta(seconds=90)

    with pytest.raises(NotAuthenticatedError):
        tokens.verify(token)


def test_a_token_is_checked_once(tokens: JwtTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.issue(Principal("ann"), lifetime=timedelta(seconds=60))
    tokens.verify(token)
    monkeypatch.setattr(module.jwt, "decode", lambda *_, **__: pytest.fail("checked again"))

    assert tokens.verify(token) == Principal("ann")


def test_the_memory_for_tokens_is_bounded(tokens: JwtTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_TOKENS", 3)

    for _ in range(10):
        tokens.verify(tokens.issue(Principal("ann"), lifetime=timedelta(seconds=60)))

    assert len(tokens._verified) == 3
