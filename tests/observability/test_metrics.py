"""What is counted and timed, in one process and in several."""

import os
import re
import subprocess
import sys
import timeit
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from notification_service.observability.metrics import Metrics
from notification_service.observability.multiprocess import VARIABLE, enable_multiprocess


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count in memory, whatever the environment says."""
    monkeypatch.delenv(VARIABLE, raising=False)


def samples(page: bytes) -> dict[str, float]:
    """Return each sample by its name and labels as they are printed."""
    found = re.findall(r"^([a-z][^ ]*(?:\{.*\})?) ([^ ]+)$", page.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_every_metric_has_its_name_and_labels() -> None:
    metrics = Metrics()

    metrics.accepted("email", 3)
    metrics.accept_answered(0.02)
    metrics.accept_batch(3)
    metrics.claimed("email", [0.5, 2.0])
    metrics.provider_answered("email", "smtp", 0.2)
    metrics.sent("email", 4.0)
    metrics.failed("retries_exhausted")
    metrics.settle_batch(2)
    metrics.lease_lost(2)
    metrics.replayed()
    metrics.rate_limited(5)
    metrics.http_answered("POST", "/v1/notifications", 202, 0.03)

    found = samples(metrics.render()[0])
    expected = {
        'notifications_created_total{channel="email"}': 3,
        'notifications_sent_total{channel="email"}': 1,
        'notifications_failed_total{reason="retries_exhausted"}': 1,
        "notification_accept_seconds_sum": 0.02,
        'notification_queue_seconds_count{channel="email"}': 2,
        'notification_queue_seconds_sum{channel="email"}': 2.5,
        'notification_provider_seconds_sum{channel="email",provider="smtp"}': 0.2,
        'notification_accept_to_sent_seconds_sum{channel="email"}': 4,
        "notification_accept_batch_size_sum": 3,
        "notification_claim_batch_size_sum": 2,
        "notification_settle_batch_size_sum": 2,
        "notifications_lease_lost_total": 2,
        "idempotent_replays_total": 1,
        "rate_limited_total": 5,
        'http_requests_total{method="POST",route="/v1/notifications",status="202"}': 1,
        'http_request_seconds_sum{method="POST",route="/v1/notifications"}': 0.03,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_the_backlog_is_shown_as_it_was_last_seen() -> None:
    metrics = Metrics()
    metrics.set_backlog(pending=9, queued=9, sending=9, oldest_due_seconds=9, dead_letters=9)

    metrics.set_backlog(pending=1, queued=2, sending=3, oldest_due_seconds=4.5, dead_letters=5)

    found = samples(metrics.render()[0])
    names = ("notifications_pending", "notifications_queued", "notifications_sending")
    assert [found[name] for name in names] == [1, 2, 3]
    assert (found["notifications_oldest_due_seconds"], found["dead_letters"]) == (4.5, 5)


def test_the_page_is_what_prometheus_reads() -> None:
    metrics = Metrics(["email"])
    metrics.failed('a "quoted" reason\n')

    body, content_type = metrics.render()

    families = {family.name: family.type for family in text_string_to_metric_families(body.decode())}
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert families["notifications_created"] == "counter"
    assert families["notification_queue_seconds"] == "histogram"
    assert families["notifications_pending"] == "gauge"


def test_known_channels_stand_at_zero_from_the_start() -> None:
    """Otherwise the first notification after a start is invisible to rate()."""
    found = samples(Metrics(["email", "sms"]).render()[0])

    assert found['notifications_created_total{channel="sms"}'] == 0
    assert found['notifications_sent_total{channel="email"}'] == 0


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    metrics = Metrics()

    metrics.claimed("email", [-5.0])
    metrics.sent("email", -0.1)

    found = samples(metrics.render()[0])
    assert found['notification_queue_seconds_sum{channel="email"}'] == 0
    assert found['notification_accept_to_sent_seconds_sum{channel="email"}'] == 0


def test_a_method_of_somebodys_own_makes_no_new_series() -> None:
    """A caller chooses the method's name; it must not choose how much memory we use."""
    metrics = Metrics()

    for number in range(5):
        metrics.http_answered(f"EVIL{number}", "/health", 405, 0.001)

    assert (
        samples(metrics.render()[0])['http_requests_total{method="OTHER",route="/health",status="405"}'] == 5
    )


def test_two_sets_of_metrics_do_not_meet() -> None:
    first, second = Metrics(["email"]), Metrics(["email"])

    first.accepted("email")

    assert samples(second.render()[0])['notifications_created_total{channel="email"}'] == 0


def test_counting_costs_microseconds() -> None:
    metrics = Metrics(["email"])

    best = min(timeit.repeat(lambda: metrics.accepted("email"), number=1000, repeat=5)) / 1000

    assert best < 20e-6


CHILD = """
import sys
from notification_service.observability.metrics import Metrics
metrics = Metrics(["email"])
number = int(sys.argv[1])
metrics.accepted("email", number)
metrics.claimed("email", [0.5] * number)
metrics.set_backlog(pending=number, queued=0, sending=0, oldest_due_seconds=0, dead_letters=0)
print(metrics.render()[0].decode())
"""

PARENT = """
import os, subprocess, sys
from pathlib import Path
from notification_service.observability.multiprocess import enable_multiprocess
enable_multiprocess(Path(sys.argv[1]))
for number in ("3", "4"):
    page = subprocess.run([sys.executable, "-c", sys.argv[2], number], check=True, capture_output=True).stdout
sys.stdout.buffer.write(page)
"""


def test_several_processes_are_added_up(tmp_path: Path) -> None:
    """Counters and histograms of all processes are summed; of a gauge the newest reading counts."""
    (tmp_path / "counter_1.db").write_bytes(b"left over by an earlier run")
    command = [sys.executable, "-c", PARENT, str(tmp_path), CHILD]

    ended = subprocess.run(command, capture_output=True, check=False)

    assert ended.stderr == b""
    found = samples(ended.stdout)
    assert found['notifications_created_total{channel="email"}'] == 7
    assert found['notification_queue_seconds_count{channel="email"}'] == 7
    assert found["notifications_pending"] == 4


def test_the_choice_for_several_processes_cannot_come_too_late(tmp_path: Path) -> None:
    """It would be without effect, silently."""
    with pytest.raises(RuntimeError, match="must be called before"):
        enable_multiprocess(tmp_path)

    assert VARIABLE not in os.environ
