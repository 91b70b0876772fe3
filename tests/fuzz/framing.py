"""Bad inputs below HTTP's bodies: lengths that lie, chunks that break off, and what is no HTTP at all."""

import json
from collections.abc import Iterator

from tests.fuzz.cases import Caller, Case, native, raw

PATH = "/v1/notifications"
LARGEST_BODY = 262_144
LARGEST_BULK = 5 * 1024 * 1024


def framing(caller: Caller) -> Iterator[Case]:
    good, word = json.dumps(native()).encode(), caller.marker.encode()
    token = caller.user["Authorization"].encode()

    def head(*lines: bytes, first: bytes = b"POST /v1/notifications HTTP/1.1", host: bool = True) -> bytes:
        usual = [b"Content-Type: application/json", b"Authorization: " + token]
        usual += [b"Host: 127.0.0.1"] if host else []
        return b"\r\n".join([first, *usual, *lines]) + b"\r\n\r\n"

    size = b"Content-Length: %d" % len(good)
    chunked = b"Transfer-Encoding: chunked"
    one_chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(good), good)
    yield raw("good chunks", head(chunked) + one_chunk, ending="answer", statuses=(202,))
    yield raw("a short length", head(b"Content-Length: 10") + good, ending="answer", statuses=(400, 422))
    yield raw("a long length", head(b"Content-Length: 9999") + good, ending="hang up")
    for length in (
        b"-1",
        b"+10",
        b"1e3",
        b"0x10",
        b"10, 10",
        b"",
        word,
        b"9" * 30,
        b"1 0",
        "\u0661".encode(),
    ):
        yield raw("a bad length", head(b"Content-Length: " + length) + good)
    yield raw("two lengths", head(size, b"Content-Length: 3") + good)
    yield raw("length and chunks", head(size, chunked) + one_chunk)
    for coding in (
        b"gzip",
        b"chunked, gzip",
        b"identity",
        word,
        b"xchunked",
        b"chunked\x0b",
        b"gzip, chunked",
    ):
        yield raw("a coding", head(b"Transfer-Encoding: " + coding) + one_chunk)
    for chunk in (
        b"zz\r\n",
        b"-1\r\n",
        b"fffffffffffffffff\r\n",
        b"5\r\nabc",
        b"5;" + word * 9_000,
        b"0\r\n" + word,
    ):
        yield raw("a chunk", head(chunked) + chunk)
    yield raw("unfinished chunks", head(chunked) + b"5\r\n", ending="hang up")
    for line in (
        b"no colon " + word,
        b": " + word,
        b"A b: c",
        b"A\x00: b",
        b"A: b\x00" + word,
        b" folded: " + word,
    ):
        yield raw("a header line", head(line, size) + good)
    yield raw("a header of 40 KB", head(b"X: " + word * 4_000, size) + good, statuses=(431,), ending="answer")
    yield raw(
        "2,000 headers",
        head(*[b"X%d: %b" % (n, word) for n in range(2_000)]),
        statuses=(431,),
        ending="answer",
    )
    yield raw("an endless head", b"GET / HTTP/1.1\r\nX: " + word * 10_000, statuses=(431,), ending="answer")
    yield raw("a long target", b"GET /" + word * 6_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    for first in (
        b"GET / HTTP/9.9",
        b"GET / HTTP/2.0",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"get / HTTP/1.1",
        b"G\x00T / HTTP/1.1",
        b"GET " + word + b" HTTP/1.1",
        b"GET http://127.0.0.1/v1/" + word + b" HTTP/1.1",
        b"GET /\x00" + word + b" HTTP/1.1",
        b"GET /\xff" + word + b" HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT 127.0.0.1:80 HTTP/1.1",
        word + b" / HTTP/1.1",
        b"GET / " + word,
    ):
        yield raw("a first line", head(first=first))
    yield raw("no host", head(first=b"GET /health HTTP/1.1", host=False))
    yield raw("upgrade", head(b"Connection: Upgrade", b"Upgrade: websocket", first=b"GET /health HTTP/1.1"))
    yield raw("h2c", head(b"Connection: Upgrade", b"Upgrade: h2c", first=b"GET /health HTTP/1.1"))
    yield raw("50 at once", head(size) * 0 + (head(size) + good) * 50, ending="answer", statuses=(202,))
    yield raw("junk behind", head(size) + good + word * 100, ending="answer", statuses=(202,))
    yield raw("half a head", head(size)[:40], ending="hang up")
    yield raw("half a body", head(size) + good[:10], ending="hang up")


def no_http(caller: Caller) -> Iterator[Case]:
    word = caller.marker.encode()
    for sent in (
        b"\r\n\r\n",
        b"\x00" * 1_000,
        b"\xff" * 1_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + word,
        b"EHLO " + word + b"\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x80\x80\x01\x03\x01",
        word * 10_000,
        b"{" + word + b"}\r\n\r\n",
    ):
        yield raw("no HTTP", sent)
