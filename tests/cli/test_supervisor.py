"""Several processes behind one port, on real processes."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.cli.processes import Running, Starter, is_gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels elsewhere spread nothing")


@pytest.fixture
def tiny(start: Starter, free_port: int) -> Running:
    """Two processes that serve."""
    running = start.tiny(free_port, "--processes", "2", "--patience", "4")
    running.until("listening")
    running.until("listening")
    return running


def who_answers(port: int, times: int = 40) -> set[int]:
    return {int(httpx.get(f"http://127.0.0.1:{port}/pid").text) for _ in range(times)}


def test_all_processes_answer_on_one_port(tiny: Running, free_port: int) -> None:
    """The kernel spreads connections over them, and the parent serves nothing."""
    found = who_answers(free_port)

    assert found == set(tiny.children())
    assert len(found) == 2


def test_no_connection_is_refused_while_a_child_is_replaced(tiny: Running, free_port: int) -> None:
    """What waits in the queue of a child that died is answered by its successor."""
    [victim, other] = tiny.children()

    os.kill(victim, signal.SIGKILL)
    with ThreadPoolExecutor(20) as pool:
        urls = [f"http://127.0.0.1:{free_port}/pid"] * 20
        found = {int(answer.text) for answer in pool.map(lambda url: httpx.get(url, timeout=20), urls)}

    assert other in found
    assert victim not in found
    assert len(found) == 2


def test_children_leave_when_their_parent_is_killed(tiny: Running, free_port: int) -> None:
    """Nobody goes on listening after a SIGKILL, and a request in flight is finished before."""
    children = tiny.children()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=1")
        tiny.until("slow began")

        tiny.signal(signal.SIGKILL)

        assert slow.result().text == "slow"
    assert all(is_gone(child) for child in children)


def test_a_request_in_flight_is_answered_after_sigterm(tiny: Running, free_port: int) -> None:
    """A process manager tells the whole group to stop, so children hear it twice and still finish."""
    children = tiny.children()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=1")
        tiny.until("slow began")

        os.killpg(tiny.pid, signal.SIGTERM)

        assert slow.result().text == "slow"
    assert tiny.wait() == 0
    assert all(is_gone(child) for child in children)


def test_nobody_waits_at_a_stopped_port(tiny: Running, free_port: int) -> None:
    """While children finish, a new connection is refused: the parent doesn't keep the port open."""
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=1.5")
        tiny.until("slow began")
        tiny.signal(signal.SIGTERM)
        time.sleep(0.8)

        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{free_port}/pid", timeout=3)

        assert slow.result().text == "slow"
    assert tiny.wait() == 0


def test_a_second_signal_kills_the_children_too(tiny: Running, free_port: int) -> None:
    """Who asks twice doesn't want to wait for any of them."""
    children = tiny.children()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/slow?seconds=20", timeout=30)
        tiny.until("slow began")

        tiny.signal(signal.SIGTERM)
        time.sleep(0.3)
        tiny.signal(signal.SIGTERM)

        assert tiny.wait() == 143
        assert isinstance(slow.exception(), httpx.TransportError)
    assert all(is_gone(child, 2) for child in children)


def test_a_child_that_hangs_is_killed_when_its_patience_ends(tiny: Running, free_port: int) -> None:
    """The exit code says that not everything was finished."""
    children = tiny.children()
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(httpx.get, f"http://127.0.0.1:{free_port}/stuck", timeout=30)
        tiny.until("stuck")

        tiny.signal(signal.SIGTERM)

        assert tiny.wait(15) == 1
        assert isinstance(stuck.exception(), httpx.TransportError)
    assert all(is_gone(child) for child in children)


def test_a_child_that_cannot_even_be_told_is_killed(tiny: Running) -> None:
    """One that doesn't run any code at all, not even to give up."""
    [stopped, other] = tiny.children()
    os.kill(stopped, signal.SIGSTOP)

    tiny.signal(signal.SIGTERM)

    assert tiny.wait(15) == 1
    assert is_gone(stopped)
    assert is_gone(other)


def test_children_that_cannot_start_end_the_parent(start: Starter, free_port: int) -> None:
    """A wrong setting is not tried again and again."""
    tiny = start.tiny(free_port, "--processes", "2", "--start", "fail")

    assert tiny.wait() == 3
    assert set(tiny.output.splitlines()) == {"tiny: the database is out of reach; try again shortly"}


def test_a_successor_that_cannot_start_does_not_end_those_that_serve(
    start: Starter, free_port: int, tmp_path: Path
) -> None:
    """An outage of the database takes down nobody who is up."""
    tiny = start.tiny(
        free_port, "--processes", "2", "--start", "fail-later", "--started", str(tmp_path / "started")
    )
    tiny.until("listening")
    tiny.until("listening")
    [victim, other] = tiny.children()

    os.kill(victim, signal.SIGKILL)
    tiny.until("out of reach")
    tiny.until("out of reach")

    assert not is_gone(other, 0.5)
    assert tiny.process.poll() is None
