"""The installed processes: `app`, `worker` and `notify up`, as an operator starts and stops them."""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.cli.processes import SCRIPTS, Running, Starter, answers

pytestmark = pytest.mark.timeout(180)  # a process needs seconds to start on a busy machine

SECRET = "9f0c1fUe7Qm3vXb2Ls8Ty5Wk4Rz6Pa0D"
PLENTY = {"NS_RATE_LIMIT_PER_HOUR": "1000000", "NS_JWT_SECRET": SECRET}
PRODUCTION = {
    "NS_ENVIRONMENT": "production",
    "NS_JWT_SECRET": SECRET,
    "NS_SESSION_SECRET_KEY": "3kR8wz1Bq6Nf4Yh7Jc2Mv9Xs5Td0Lg1E",
    "NS_WEBHOOK_SECRET": "whsec_Q1pOVzZ0bTJrYUg0eFNyOWRMM3VGNXdCOHlHMWNFN24=",
    "NS_HOST": "127.0.0.1",
}


def token() -> str:
    claims = {"sub": "tester", "role": "admin", "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def caller(port: int) -> httpx.Client:
    headers = {"authorization": f"Bearer {token()}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)


def email(number: int) -> dict[str, Any]:
    channel = {"type": "email", "to": f"someone{number}@example.com", "subject": "Hello"}
    return {"user_id": f"user{number}", "channel": channel, "body": "hello"}


def everything(client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/notifications", params=query).json()
        rows += page["data"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return rows


@pytest.mark.parametrize(
    ("command", "setting"), [(("app",), "NS_PORT"), (("worker",), "NS_PORT"), (("notify", "up"), "NS_PORT")]
)
def test_a_wrong_setting_is_one_line(start: Starter, command: tuple[str, ...], setting: str) -> None:
    """It names the variable, and the exit code says that nothing was tried."""
    running = start.script(*command, **{setting: "eight thousand"})

    assert running.wait() == 2
    assert len(running.lines) == 1
    assert setting in running.output
    assert "Traceback" not in running.output


def test_a_port_in_use_is_one_line(start: Starter, free_port: int) -> None:
    """The second one leaves at once and the first one doesn't notice."""
    start.tiny(free_port).until("listening")

    running = start.script("app", "--port", str(free_port))

    assert running.wait() == 1
    assert running.output == (
        f"app: port {free_port} of 127.0.0.1 is in use; stop what runs there, or use another --port\n"
    )


def test_ctrl_c_while_it_waits_for_its_database_leaves_no_traceback(start: Starter, free_port: int) -> None:
    """A process that waits for something can be left."""
    missing = "postgresql://nobody:secret@127.0.0.1:1/nowhere"
    running = start.script("app", "--port", str(free_port), NS_DATABASE_URL=missing)
    running.until("waiting_for_database")

    running.signal(signal.SIGINT)

    assert running.wait() == 0
    assert "Traceback" not in running.output
    assert "secret" not in running.output


def test_what_was_accepted_before_sigterm_is_stored(start: Starter, free_port: int) -> None:
    """Under load every 202 is kept, and the process ends with 0 within its time."""
    start.environment |= PLENTY
    running = start.script("app", "--port", str(free_port))
    running.until("api_started")
    accepted: list[str] = []
    numbers = count()

    def send_until_refused(client: httpx.Client) -> None:
        while True:
            try:
                answer = client.post("/v1/notifications", json=email(next(numbers)))
            except httpx.TransportError:
                return
            accepted.append(answer.json()["id"])

    with caller(free_port) as client, ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send_until_refused, client) for _ in range(8)]
        while len(accepted) < 100:
            time.sleep(0.01)
        running.signal(signal.SIGTERM)
        for sender in senders:
            sender.result()
    assert running.wait() == 0

    again = start.script("app", "--port", str(free_port))
    again.until("api_started")
    with caller(free_port) as client:
        stored = {row["id"] for row in everything(client)}

    assert set(accepted) <= stored


def test_a_worker_told_to_stop_loses_and_repeats_nothing(start: Starter, free_port: int) -> None:
    """It claims nothing more, settles what is in hand, and the next worker does the rest."""
    start.environment |= PLENTY | {
        "NS_EMAIL_PROVIDERS": "simulated",
        "NS_SIMULATED_LATENCY_SECONDS": "1",
        "NS_WORKER_CONCURRENCY": "20",
    }
    start.script("app", "--port", str(free_port)).until("api_started")
    first = start.script("worker")
    first.until("worker_started")
    with caller(free_port) as client:
        bulk = {"notifications": [email(number) for number in range(120)]}
        assert client.post("/v1/notifications/bulk", json=bulk).json()["accepted"] == 120
        while not {"sent", "sending"} <= {row["status"] for row in everything(client)}:
            time.sleep(0.05)

        assert first.stop() == 0
        left = Counter(row["status"] for row in everything(client))
        start.script("worker").until("worker_started")
        deadline = time.monotonic() + 30
        while any(row["status"] != "sent" for row in everything(client)) and time.monotonic() < deadline:
            time.sleep(0.2)
        rows = everything(client)
        attempts = [client.get(f"/v1/notifications/{row['id']}/attempts").json()["data"] for row in rows[:50]]

    assert 0 < left["sent"] < 120, left
    assert left["sending"] == 0, left
    assert Counter(row["status"] for row in rows) == {"sent": 120}
    assert {row["retry_count"] for row in rows} == {0}
    assert {len(each) for each in attempts} == {1}


def test_a_worker_told_twice_leaves_at_once(start: Starter, free_port: int) -> None:
    """What was in flight is found again in the store."""
    start.environment |= PLENTY | {
        "NS_EMAIL_PROVIDERS": "simulated",
        "NS_SIMULATED_LATENCY_SECONDS": "8",
        "NS_WORKER_PORT": str(free_port),
    }
    up = start.script("notify", "up", "--port", str(free_port), "--no-link", NS_WORKER_PORT="0")
    up.until("api_started")
    with caller(free_port) as client:
        client.post("/v1/notifications", json=email(1))
        while [row["status"] for row in everything(client)] != ["sending"]:
            time.sleep(0.05)

    began = time.monotonic()
    up.signal(signal.SIGTERM)
    time.sleep(0.5)
    assert up.process.poll() is None
    up.signal(signal.SIGTERM)

    assert up.wait() == 143
    assert time.monotonic() - began < 4


def test_a_worker_tells_how_it_is(start: Starter, free_port: int) -> None:
    """On a port of its own, with and without the trailing slash, and never by a redirect."""
    running = start.script("worker", "--port", str(free_port), "--channels", "email,push")
    line = running.until("worker_started")
    url = f"http://127.0.0.1:{free_port}"
    answers(url)

    health = [httpx.get(f"{url}{path}") for path in ("/health", "/health/")]
    metrics = [httpx.get(f"{url}{path}") for path in ("/metrics", "/metrics/")]

    assert [each.json() for each in health] == [{"status": "ok"}] * 2
    assert all("notifications_sent_total" in each.text for each in metrics)
    assert '["email", "push"]' in line
    assert running.stop() == 0
    assert "worker_stopped" in running.output


def test_a_worker_refuses_a_channel_it_does_not_know(start: Starter) -> None:
    """One line with those that exist."""
    running = start.script("worker", "--channels", "email,pigeon")

    assert running.wait() == 2
    assert running.output.startswith("worker: no channel 'pigeon'; choose from email, sms,")


@pytest.mark.skipif(sys.platform != "linux", reason="kernels elsewhere spread nothing")
def test_metrics_of_several_processes_are_added_up(start: Starter, free_port: int) -> None:
    """Whichever process answers, it tells of all of them, and the last run's numbers are gone."""
    for sent in (7, 3):
        running = start.script("app", "--port", str(free_port), "--processes", "2", **PLENTY)
        running.until("api_started")
        running.until("api_started")
        with caller(free_port) as client:
            for number in range(sent):
                # a connection each, so that the kernel spreads them
                httpx.post(
                    f"{client.base_url}/v1/notifications", json=email(number), headers=client.headers
                ).raise_for_status()
            told = {_created(httpx.get(f"{client.base_url}/metrics").text) for _ in range(8)}
        assert running.stop() == 0

        assert told == {float(sent)}


def test_up_shows_a_newcomer_what_to_do(start: Starter, free_port: int) -> None:
    """The lines work as they stand, the mailbox keeps the message, and the link signs in."""
    up = start.script("notify", "up", "--port", str(free_port))
    link = _after(up, "Sign in")
    send = _after(up, "Send a first notification")
    look = _after(up, "See what became of it")

    sent = _run(send)
    until = time.monotonic() + 15
    while '"status":"sent"' not in (seen := _run(look)) and time.monotonic() < until:
        time.sleep(0.1)
    kept = _run(look.replace("/v1/notifications", "/v1/mailbox"))
    with httpx.Client(follow_redirects=True, timeout=20) as browser:
        page = browser.post(link)

    assert '"user_id":"demo"' in sent
    assert '"status":"sent"' in seen
    assert "demo@example.com" in kept
    assert (page.url.path, page.status_code) == ("/mailbox", 200)


def test_up_ends_with_ctrl_c_and_one_line(start: Starter, free_port: int) -> None:
    """It is one process, so nothing is left of it, not even after a SIGKILL; and --no-link prints no key."""
    up = start.script("notify", "up", "--port", str(free_port), "--no-link")
    up.until("api_started")
    answers(f"http://127.0.0.1:{free_port}/health")
    children = up.children()

    up.signal(signal.SIGINT)

    assert up.wait() == 0
    assert up.lines[-1] == "stopped\n"
    assert "Traceback" not in up.output
    assert "/link/" not in up.output
    assert "Bearer" not in up.output
    assert children == []


def test_up_outside_development_prints_no_keys(start: Starter, free_port: int) -> None:
    """Its output ends up in logs there."""
    _run(shlex.join([str(SCRIPTS / "notify"), "migrate"]), start.environment | PRODUCTION, start.folder)
    up = start.script("notify", "up", "--port", str(free_port), **PRODUCTION)
    up.until("api_started")

    assert up.stop() == 0
    assert "/link/" not in up.output
    assert "Bearer" not in up.output


def test_outside_development_tables_are_not_made_by_themselves(start: Starter, free_port: int) -> None:
    """One line says what to run."""
    running = start.script("app", "--port", str(free_port), **PRODUCTION)

    assert running.wait() == 1
    assert running.lines[-1].startswith("app: ")
    assert "notify migrate" in running.lines[-1]


def _created(metrics: str) -> float:
    found = re.search(r'^notifications_created_total\{channel="email"\} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _after(running: Running, title: str) -> str:
    running.until(title)
    return running.until("http").strip()


def _run(command: str, environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    done = subprocess.run(
        shlex.split(command),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=environment,
        cwd=folder,
    )
    return done.stdout
