"""Bad inputs written by hand, each with the one answer it deserves."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from tests.fuzz import hostile
from tests.fuzz.cases import FORM, JSON, Caller, Case, native, request
from tests.fuzz.framing import framing, no_http

PATH = "/v1/notifications"
LARGEST_BODY = 262_144
LARGEST_BULK = 5 * 1024 * 1024


def corpus(caller: Caller, secret: str) -> Iterator[Case]:
    """Give all of it."""
    yield from _bodies(caller)
    yield from _fields(caller)
    yield from _other_profiles(caller)
    yield from _tokens(caller, secret)
    yield from _headers(caller)
    yield from _targets(caller)
    yield from framing(caller)
    yield from no_http(caller)


def _post(caller: Caller, name: str, document: Any, *statuses: int, path: str = PATH) -> Case:
    body = document if isinstance(document, bytes) else hostile.dump(document)
    return request(name, "POST", path, headers={**JSON, **caller.user}, body=body, statuses=statuses)


def _bodies(caller: Caller) -> Iterator[Case]:
    good, word = json.dumps(native()).encode(), caller.marker.encode()
    for name, body in {
        "empty body": b"",
        "blank body": b" \r\n\t ",
        "no object": b"[]",
        "a string": b'"' + word + b'"',
        "a number": b"1",
        "null": b"null",
        "a word": word,
        "trailing comma": good[:-1] + b",}",
        "trailing garbage": good + word,
        "two documents": good + good,
        "single quotes": good.replace(b'"', b"'"),
        "a comment": b"/* " + word + b" */" + good,
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "invalid UTF-8": good.replace(b"text", word + b"\xff\xfe"),
        "overlong UTF-8": good.replace(b"text", word + b"\xc0\x80"),
        "surrogates in UTF-8": good.replace(b"text", word + b"\xed\xa0\x80"),
        "a lone surrogate": good.replace(b"text", word + b"\\ud800"),
        "a surrogate at the end": good.replace(b"text", b"\\ud83d"),
        "NUL": good.replace(b"text", word + b"\\u0000"),
        "a raw NUL": good.replace(b"text", word + b"\x00"),
        "a raw line break": good.replace(b"text", word + b"\n"),
        "NaN": good[:-1] + b',"priority":NaN}',
        "Infinity": good[:-1] + b',"priority":-Infinity}',
        "a huge number": good[:-1] + b',"priority":' + b"9" * 5_000 + b"}",
        "a huge exponent": good[:-1] + b',"priority":1e400}',
        "a key twice": good[:-1] + b',"body":"' + word + b'"}',
        "a nested key twice": good.replace(b'"to":', b'"to":"a@example.com","to":'),
        "deep lists": b"[" * hostile.DEEP + b"]" * hostile.DEEP,
        "deep objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        "deep and unfinished": b"[" * 100_000,
        "deep metadata": good[:-1] + b',"metadata":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    }.items():
        yield _post(caller, name, body, 422)
    yield _post(caller, "too large", b'"' + b"x" * LARGEST_BODY + b'"', 413)
    yield _post(caller, "too large in bulk", b'"' + b"x" * LARGEST_BULK + b'"', 413, path=f"{PATH}/bulk")
    yield _post(caller, "a bulk of a list", b"[]", 422, path=f"{PATH}/bulk")
    yield _post(caller, "an empty bulk", {"notifications": []}, 422, path=f"{PATH}/bulk")
    yield _post(caller, "a bulk of 1,001", {"notifications": [1] * 1_001}, 422, path=f"{PATH}/bulk")
    yield _post(
        caller,
        "a bulk of rubbish",
        {"notifications": hostile.texts(caller.marker)[:20]},
        202,
        422,
        path=f"{PATH}/bulk",
    )


def _fields(caller: Caller) -> Iterator[Case]:
    for name, channel in _bad_channels(caller.marker):
        yield _post(caller, name, native(channel=channel), 422)
    for bad in hostile.phone_numbers(caller.marker):
        flat = {"channel": "sms", "recipient": bad, "body": "b"}
        yield _post(caller, "flat number", flat, 422, path="/notifications")
    for field, value in _bad_fields(caller.marker):
        yield _post(caller, f"field {field[:20]}", native(**{field: value}), 422)
    yield _post(caller, "another user", native(user_id=caller.marker), 403)


def _bad_channels(word: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for bad in hostile.addresses(word):
        yield "address", {"type": "email", "to": bad, "subject": "s"}
    for bad in hostile.phone_numbers(word):
        yield "phone number", {"type": "sms", "phone_number": bad}
    for bad in hostile.addresses_of_webs(word):
        yield "URL", {"type": "webhook", "url": bad}
    for subject in (f"{word}\r\nBcc: a@example.com", f"{word}\x00", f"{word}\u2028", "", "x" * 201):
        yield "subject", {"type": "email", "to": "fuzz@example.com", "subject": subject}
    for token in ("", f"{word} {word}", f"{word}\u00e9", "x" * 4_097, f"{word}\n"):
        yield "device token", {"type": "push", "device_token": token, "title": "t"}


def _bad_fields(word: str) -> Iterator[tuple[str, Any]]:
    for bad in hostile.times(word):
        yield "scheduled_for", bad
        yield "expires_at", bad
    for number in hostile.numbers():
        if number.written not in {b"5e0", b"0.1e1"}:  # 5 and 1
            yield "priority", number
    for name in ("user_id", "body", "channel", "priority", "reference", "category"):
        for shape in ([], {}, True, [word], {word: word}, 1.5):
            yield name, shape
    for metadata in ([], [word], True, {word: 1}, {word * 10: ""}, {"k": word * 200}):
        yield "metadata", metadata
    yield "metadata", {f"{word}{number}": "" for number in range(51)}
    yield from (
        (word, word),
        ("user_id", ""),
        ("user_id", "x" * 256),
        ("body", ""),
        ("body", word * 500),
        ("dry_run", True),
        ("template", word),
        ("fallbacks", []),
        ("role", None),
        ("channel", word),
        ("channel", {"type": word}),
        ("channel", {"type": "email", word: word}),
        ("reference", word * 100),
        ("category", word * 100),
        ("id", word),
        ("status", "sent"),
    )


def _other_profiles(caller: Caller) -> Iterator[Case]:
    word = caller.marker
    flat = {"channel": "email", "recipient": "fuzz@example.com", "subject": "s", "body": "text"}
    bad: tuple[dict[str, Any], ...] = (
        {"channel": word},
        {"channel": "chat"},
        {"recipient": word},
        {"recipient": ""},
        {"subject": None},
        {"subject": f"{word}\r\n"},
        {"body": "x" * 10_001},
        {"metadata": []},
        {"metadata": {"k": "x" * 20_000}},
        {"metadata": {"k": hostile.Raw(b"1e999")}},
        {"metadata": {f"{word}\x00": 1}},
        {"metadata": {"a": {"b": [f"\x00{word}"]}}},
        {word: word},
    )
    for changed in bad:
        yield _post(caller, "flat", flat | changed, 422, path="/notifications")
    for redrive in (
        {"limit": 0},
        {"limit": 10_001},
        {"reason": word},
        {"since": word},
        {word: 1},
        {"channel": word},
    ):
        body = hostile.dump(redrive)
        path, headers = "/v1/dead-letters/redrive", {**JSON, **caller.admin}
        yield request("redrive", "POST", path, headers=headers, body=body, statuses=(422,))
        yield request(
            "redrive as a user", "POST", path, headers={**JSON, **caller.user}, body=body, statuses=(403,)
        )
    for form in (
        b"",
        b"username=a",
        b"username=a&password=",
        f"username={word}".encode(),
        b"a=1&a=2",
        b"username=%ff&password=x",
        b"\xff",
    ):
        yield request("form", "POST", "/v1/auth/token", headers=FORM, body=form, statuses=(422,))
    for _ in range(2):  # each is hashed, which is meant to take its time
        form = f"username={word}&password={word}".encode()
        yield request(
            "wrong password", "POST", "/v1/auth/token", headers=FORM, body=form, statuses=(401, 429)
        )


def _tokens(caller: Caller, secret: str) -> Iterator[Case]:
    now = datetime.now(UTC)
    soon, past = now + timedelta(hours=1), now - timedelta(hours=1)
    word = caller.marker

    def signed(claims: dict[str, Any], key: str = secret, algorithm: str = "HS256") -> str:
        return jwt.encode(claims, key, algorithm=algorithm)

    unsigned = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", "typ": "JWT"}, {"sub": "admin", "role": "admin", "exp": 4_000_000_000})
    )
    for name, token in {
        "expired": signed({"sub": word, "exp": past}),
        "without exp": signed({"sub": word}),
        "without sub": signed({"exp": soon}),
        "empty sub": signed({"sub": "", "exp": soon}),
        "of another key": signed({"sub": word, "exp": soon}, "another secret of at least 32 bytes"),
        "of another algorithm": signed({"sub": word, "exp": soon}, secret * 2, "HS512"),
        "with an unknown role": signed({"sub": word, "exp": soon, "role": "root"}),
        "with role null": signed({"sub": word, "exp": soon, "role": None}),
        "with role a list": signed({"sub": word, "exp": soon, "role": ["admin"]}),
        "not yet valid": signed({"sub": word, "exp": soon, "nbf": soon}),
        "without a signature": unsigned + ".",
        "with an odd signature": f"{unsigned}.{word}",
        "garbage": word,
        "dots": "...",
        "long": word * 1_000,
        "not base64": f"{word}.\u00e9.{word}",
    }.items():
        headers = {"Authorization": f"Bearer {token}"}
        yield request(f"token {name}", "GET", PATH, headers=headers, statuses=(401,))
    for value in ("", "Bearer", "Bearer ", f"Basic {word}", word, f"Bearer\t{word}"):
        yield request("no bearer", "GET", PATH, headers={"Authorization": value}, statuses=(401,))
    yield request("no token", "GET", PATH, statuses=(401,))
    good = caller.user["Authorization"]
    yield request(
        "two tokens", "GET", PATH, more=(("Authorization", good), ("Authorization", good)), statuses=(401,)
    )


def _headers(caller: Caller) -> Iterator[Case]:
    word, body = caller.marker, json.dumps(native()).encode()

    def post(
        name: str, *more: tuple[str, str | bytes], statuses: tuple[int, ...], typed: bool = True
    ) -> Case:
        headers = {**(JSON if typed else {}), **caller.user}
        return request(name, "POST", PATH, headers=headers, more=more, body=body, statuses=statuses)

    for key in ("", "x" * 256, f"{word} {word}", f"{word}\u00e9"):
        yield post("key", ("Idempotency-Key", key), statuses=(422,))
    yield post("a key that is no header", ("Idempotency-Key", f"{word}\x7f"), statuses=(400,))
    yield post("two keys", ("Idempotency-Key", word), ("Idempotency-Key", word), statuses=(422,))
    for kind in (
        None,
        "",
        "text/plain",
        f"application/{word}",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
    ):
        yield post(
            "type", *((("Content-Type", kind),) if kind is not None else ()), statuses=(415,), typed=False
        )
    yield post("two types", ("Content-Type", "application/json"), statuses=(415,))
    for encoding in ("gzip", "deflate", "br", word, "gzip, identity"):
        yield post("encoding", ("Content-Encoding", encoding), statuses=(415,))
    for name in ("X-Request-ID", "X-Correlation-ID"):
        for value in (f"{word}\xff", f"{word} {word}", word * 20, f"{word}\u4e16"):
            yield post(name, (name, value.encode("utf-8")), statuses=(202,))
        yield post(f"two of {name}", (name, word), (name, word), statuses=(202,))
    yield post("method override", ("X-HTTP-Method-Override", "DELETE"), statuses=(202,))
    yield post("expect", ("Expect", "100-continue"), statuses=(202,))


def _targets(caller: Caller) -> Iterator[Case]:
    word = caller.marker
    for part in (
        word,
        "1",
        "00000000",
        "%00",
        "%zz",
        "..%2f..",
        "%2e%2e",
        "0" * 36,
        "nil",
        "x" * 4_000,
    ):
        yield request("id", "GET", f"{PATH}/{part}".encode(), headers=caller.user, statuses=(404, 422))
        yield request(
            "id", "POST", f"{PATH}/{part}/cancel".encode(), headers=caller.user, statuses=(404, 422)
        )
    for query in (
        word,
        f"{word}=1",
        f"status={word}",
        "status=",
        "limit=0",
        "limit=101",
        "limit=1.0",
        "limit=%D9%A1",
        "limit=1&limit=2",
        f"cursor={word}",
        "cursor=AAAA",
        f"cursor={'A' * 44}",
        "created_after=2030-01-31",
        "created_after=yesterday",
        "user_id=",
        "reference=%00",
        "reference=%ff",
        "status=sent;limit=1",
        "&",
        "=",
        "%",
        "&".join(f"a{n}=1" for n in range(50)),
    ):
        yield request("query", "GET", f"{PATH}?{query}", headers=caller.user, statuses=(422,))
    for path in (
        f"/{word}",
        f"/v1/{word}",
        "/.env",
        "/.git/config",
        "/v1/../health",
        "/static/../../etc/passwd",
    ):
        yield request("unknown path", "GET", path, headers=caller.user, statuses=(404,))
        html = {"Accept": "text/html"}
        yield request("unknown page", "GET", path, headers=html, statuses=(303, 302, 404), is_page=True)
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        yield request("method", method, PATH, headers=caller.user, statuses=(405,))
    yield request("another's list", "GET", f"{PATH}?user_id={word}", headers=caller.user, statuses=(403,))
    yield request("letters as a user", "GET", "/v1/dead-letters", headers=caller.user, statuses=(403,))
