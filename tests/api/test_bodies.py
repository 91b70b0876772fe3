"""The body guard: kind, size and form, before anything else is looked at."""

from collections.abc import AsyncIterator

import httpx
import pytest

from notification_service.entrypoints.api import bodies
from tests.api.rig import Api, problems

JSON = {"Content-Type": "application/json"}
LIMIT = 262_144

BROKEN = [
    b"",
    b"  \n",
    b"{",
    b"{} x",
    b'{"a": 1,}',
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 01}',
    b'\xef\xbb\xbf{"a": 1}',
    b'{"a": "\xff"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\ud800\\u0041"}',
    b'{"a": "\x00"}',
    b'{"a": "line\nbreak"}',
    b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"a": ' + b"9" * 5_000 + b"}",
    '{"a": 1}'.encode("utf-16"),
]


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:20]))
async def test_what_is_no_strict_json_is_refused_as_a_whole(caller: httpx.AsyncClient, body: bytes) -> None:
    response = await caller.post("/v1/notifications", content=body, headers=JSON)

    assert list(problems(response)) == [""]


async def test_a_key_given_twice_is_refused_at_any_depth(caller: httpx.AsyncClient) -> None:
    body = b'{"user_id": "ann", "metadata": {"secretkey": "1", "secretkey": "2"}}'

    response = await caller.post("/v1/notifications", content=body, headers=JSON)

    assert problems(response) == {"": "an object has the same key twice"}


async def test_broken_json_is_told_where_it_breaks(caller: httpx.AsyncClient) -> None:
    response = await caller.post("/v1/notifications", content=b'{\n "a": oops}', headers=JSON)

    assert problems(response) == {"": "is not valid JSON (at line 2 column 7)"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json-patch+json"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=str,
)
async def test_another_kind_of_body_is_415(caller: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await caller.post("/v1/notifications", content=b"{}", headers=headers)

    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


async def test_two_kinds_at_once_are_415(caller: httpx.AsyncClient) -> None:
    twice = [("Content-Type", "application/json"), ("Content-Type", "application/json")]

    response = await caller.post("/v1/notifications", content=b"{}", headers=twice)

    assert response.status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json; v=1"]
)
async def test_parameters_of_the_kind_are_allowed(caller: httpx.AsyncClient, kind: str) -> None:
    response = await caller.post("/v1/notifications", content=b"{}", headers={"Content-Type": kind})

    assert response.status_code == 422


async def test_a_body_over_the_limit_is_413_and_one_at_the_limit_is_read(caller: httpx.AsyncClient) -> None:
    over = await caller.post("/v1/notifications", content=b" " * (LIMIT + 1), headers=JSON)
    within = await caller.post("/v1/notifications", content=b" " * LIMIT, headers=JSON)

    assert over.status_code == 413
    assert within.status_code == 422


async def test_a_body_of_unknown_length_is_cut_off_at_the_limit(caller: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 65_536

    response = await caller.post("/v1/notifications", content=endless(), headers=JSON)

    assert response.status_code == 413
    assert read <= 6


async def test_a_length_that_lies_does_not_help(caller: httpx.AsyncClient) -> None:
    lie = JSON | {"Content-Length": "2"}

    response = await caller.post("/v1/notifications", content=b" " * (LIMIT + 1), headers=lie)

    assert response.status_code == 413


async def test_a_bulk_body_may_have_5_mb(caller: httpx.AsyncClient) -> None:
    largest = 5 * 1024 * 1024

    over = await caller.post("/v1/notifications/bulk", content=b" " * (largest + 1), headers=JSON)
    within = await caller.post("/v1/notifications/bulk", content=b" " * largest, headers=JSON)

    assert over.status_code == 413
    assert within.status_code == 422


async def test_the_token_is_looked_at_before_the_body(api: Api) -> None:
    async with api.client() as stranger:
        response = await stranger.post("/v1/notifications", content=b" " * (LIMIT + 1))

    assert response.status_code == 401


@pytest.mark.parametrize("data", [b"a=1&a=2", b"a", b"a=%ff", b"a=\xc3\xbc", b"&".join([b"a=1"] * 30)])
def test_pairs_that_could_mean_two_things_are_refused(data: bytes) -> None:
    with pytest.raises(bodies.InvalidInputError):
        bodies.parse_pairs(data, most=20)
