"""How the server begins, ends, and what it refuses; on real processes and sockets."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from notification_service.entrypoints.guarded_http import LARGEST_HEAD_BYTES
from notification_service.entrypoints.server import CannotListenError, listen
from tests.cli.processes import Starter


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def answer(connection: socket.socket) -> bytes:
    """Return everything until the server closes."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_request_in_flight_is_answered_after_sigterm(start: Starter, free_port: int) -> None:
    """Stopping accepts nothing more and finishes what has begun, the lifespan last; then it exits with 0."""
    tiny = start.tiny(free_port)
    tiny.until("listening")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=1.5")
        tiny.until("slow began")

        tiny.signal(signal.SIGTERM)
        time.sleep(0.5)

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", free_port), timeout=5)
        assert slow.result().text == "slow"
    assert tiny.wait() == 0
    assert "ended" in tiny.lines[-1]


def test_an_idle_connection_does_not_delay_the_end(start: Starter, free_port: int) -> None:
    """A connection that is kept alive without a request is closed at once."""
    tiny = start.tiny(free_port)
    tiny.until("listening")
    with httpx.Client() as client:
        client.get(f"http://127.0.0.1:{free_port}/pid")

        began = time.monotonic()
        assert tiny.stop() == 0

    assert time.monotonic() - began < 3


def test_a_second_signal_ends_the_process_at_once(start: Starter, free_port: int) -> None:
    """Who asks twice doesn't want to wait, and the exit code says by what."""
    tiny = start.tiny(free_port)
    tiny.until("listening")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=20", timeout=30)
        tiny.until("slow began")

        began = time.monotonic()
        tiny.signal(signal.SIGINT)
        time.sleep(0.3)
        tiny.signal(signal.SIGTERM)

        assert tiny.wait() == 143
        assert time.monotonic() - began < 3
        with pytest.raises(httpx.TransportError):
            slow.result()
    assert "stopped before everything was finished" in tiny.output


def test_a_request_that_takes_too_long_does_not_outlast_the_patience(start: Starter, free_port: int) -> None:
    """It is broken off in time for the lifespan to end well."""
    tiny = start.tiny(free_port, "--patience", "1.5")
    tiny.until("listening")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=30", timeout=60)
        tiny.until("slow began")

        began = time.monotonic()
        tiny.signal(signal.SIGTERM)

        assert tiny.wait() == 0
        assert time.monotonic() - began < 4
        assert slow.exception() or slow.result().status_code == 500
    assert "ended" in tiny.output


def test_a_process_that_hangs_leaves_when_its_patience_ends(start: Starter, free_port: int) -> None:
    """The clock that watches the end doesn't run in the loop it watches."""
    tiny = start.tiny(free_port, "--patience", "1")
    tiny.until("listening")
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/stuck", timeout=30)
        tiny.until("stuck")

        began = time.monotonic()
        tiny.signal(signal.SIGTERM)

        assert tiny.wait() == 1
        assert 0.8 < time.monotonic() - began < 4
        assert isinstance(stuck.exception(), httpx.TransportError)
    assert "NS_SHUTDOWN_SECONDS" in tiny.lines[-1]


def test_a_start_that_waits_is_given_up_by_sigterm(start: Starter, free_port: int) -> None:
    """A process that waits for its database can be stopped like any other."""
    tiny = start.tiny(free_port, "--start", "wait")
    tiny.until("waiting")

    began = time.monotonic()

    assert tiny.stop() == 0
    assert time.monotonic() - began < 3


def test_a_failed_start_is_one_line(start: Starter, free_port: int) -> None:
    """What goes wrong in the lifespan reaches a person in words."""
    tiny = start.tiny(free_port, "--start", "fail")

    assert tiny.wait() == 3
    assert tiny.output == "tiny: the database is out of reach; try again shortly\n"


def test_a_head_that_is_too_large_is_refused(start: Starter, free_port: int) -> None:
    """Whether it comes whole or never ends, it takes no more memory than the limit."""
    start.tiny(free_port).until("listening")
    line = b"x-filler: " + b"a" * 1000 + b"\r\n"
    head = b"GET /pid HTTP/1.1\r\nhost: x\r\n" + line * (LARGEST_HEAD_BYTES // len(line) + 1)

    with connected(free_port) as whole:
        whole.sendall(head + b"\r\n")
        first = answer(whole)
    with connected(free_port) as endless:
        endless.sendall(b"GET /pid HTTP/1.1\r\nx-endless: " + b"a" * (LARGEST_HEAD_BYTES + 10))
        second = answer(endless)

    for refusal in (first, second):
        assert refusal.startswith(b"HTTP/1.1 431 ")
        assert json.loads(refusal.partition(b"\r\n\r\n")[2])["code"] == "head_too_large"


def test_a_head_within_the_limit_is_served_again_and_again(start: Starter, free_port: int) -> None:
    """The limit counts one request's head, not all that a connection has carried."""
    start.tiny(free_port).until("listening")
    headers = {"x-filler": "a" * (LARGEST_HEAD_BYTES // 2)}

    with httpx.Client(base_url=f"http://127.0.0.1:{free_port}") as client:
        codes = [
            client.post("/body", content=b"b" * 1_000_000, headers=headers).status_code for _ in range(5)
        ]

    assert codes == [200] * 5


def test_a_request_that_does_not_arrive_is_given_up(start: Starter, free_port: int) -> None:
    """A silent connection, an unfinished head and an unfinished body all end; a head's end is a 408."""
    start.tiny(free_port, "--arrival", "0.5").until("listening")

    with connected(free_port) as silent, connected(free_port) as head, connected(free_port) as body:
        head.sendall(b"GET /pid HTTP/1.1\r\nhost:")
        body.sendall(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
        began = time.monotonic()

        assert answer(silent) == b""
        assert answer(head).startswith(b"HTTP/1.1 408 ")
        assert b"200 OK" not in answer(body)
        assert time.monotonic() - began < 3


def test_a_slow_answer_is_not_a_slow_request(start: Starter, free_port: int) -> None:
    """The time to arrive says nothing about the time the work takes."""
    start.tiny(free_port, "--arrival", "0.5").until("listening")

    found = httpx.get(f"http://127.0.0.1:{free_port}/slow?seconds=1.2")

    assert found.text == "slow"


def test_what_is_no_http_gets_a_problem(start: Starter, free_port: int) -> None:
    """A malformed request is answered in the form of every other error, and the connection closed."""
    start.tiny(free_port).until("listening")

    with connected(free_port) as connection:
        connection.sendall(b"hello\r\n\r\n")
        found = answer(connection)

    problem = json.loads(found.partition(b"\r\n\r\n")[2])
    assert found.startswith(b"HTTP/1.1 400 ")
    assert problem["code"] == "malformed_request"
    assert f"x-request-id: {problem['request_id']}\r\n".encode() in found


def test_an_answer_does_not_name_the_server(start: Starter, free_port: int) -> None:
    """What runs here is nobody's business."""
    start.tiny(free_port).until("listening")

    headers = httpx.get(f"http://127.0.0.1:{free_port}/pid").headers

    assert "server" not in headers
    assert "date" in headers


@pytest.mark.parametrize(
    ("trusted", "client"), [([], "127.0.0.1"), (["--trust", "127.0.0.0/8"], "203.0.113.7")]
)
def test_forwarded_headers_are_believed_from_trusted_proxies_only(
    start: Starter, free_port: int, trusted: list[str], client: str
) -> None:
    """Of several addresses the last one that isn't a proxy's counts: a client can write what it likes."""
    start.tiny(free_port, *trusted).until("listening")
    headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7", "x-forwarded-proto": "https"}

    found = httpx.get(f"http://127.0.0.1:{free_port}/client", headers=headers).json()

    assert found == {"client": client, "scheme": "https" if trusted else "http"}


@pytest.mark.parametrize("shares", [1, 2])
def test_a_port_in_use_is_refused(free_port: int, shares: int) -> None:
    """Before anything else is opened, and also where sockets are shared."""
    problem = pytest.raises(CannotListenError, match=rf"port {free_port} of 127\.0\.0\.1 is in use")

    with socket.create_server(("127.0.0.1", free_port)), problem:
        listen("127.0.0.1", free_port, shares=shares)


def test_a_port_that_is_shared_is_not_shared_with_strangers(free_port: int) -> None:
    """Two services with several processes would otherwise take turns at answering."""
    ours = listen("127.0.0.1", free_port, shares=2)
    for each in ours:
        each.listen()

    with pytest.raises(CannotListenError, match="is in use"):
        listen("127.0.0.1", free_port, shares=2)

    for each in ours:
        each.close()


def test_an_address_of_another_machine_is_refused() -> None:
    """The message names the host, not the port."""
    with pytest.raises(CannotListenError, match=r"203\.0\.113\.1 is no address of this machine"):
        listen("203.0.113.1", 0)
