"""What the processes tell of themselves when somebody listens: traces across the queue, and the backlog."""

import time

import httpx

from tests.cli.processes import PATIENCE, Starter
from tests.cli.test_processes import PLENTY, caller, email
from tests.observability.collector import running_collector

A_CALLERS_SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_one_trace_leads_from_the_request_through_the_queue_to_the_delivery(
    start: Starter, free_port: int
) -> None:
    """Two processes, the caller's own trace: the worker's span is a child of the request's."""
    with running_collector() as collector:
        start.environment |= PLENTY | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        app, worker = start.script("app", "--port", str(free_port)), start.script("worker")
        app.until("api_started")
        with caller(free_port) as client:
            answer = client.post("/v1/notifications", json=email(1), headers={"traceparent": A_CALLERS_SPAN})
        worker.until('"delivered"')

        assert (app.stop(), worker.stop()) == (0, 0)

    spans = collector.spans()
    request, delivery = spans["POST /v1/notifications"], spans["process email"]
    assert answer.status_code == 202
    assert request.trace_id.hex() == delivery.trace_id.hex() == A_CALLERS_SPAN.split("-")[1]
    assert request.parent_span_id.hex() == A_CALLERS_SPAN.split("-")[2]
    assert delivery.parent_span_id == request.span_id


def test_the_api_shows_the_backlog_though_no_worker_runs(start: Starter, free_port: int) -> None:
    """An operator sees that work is waiting where it is accepted."""
    start.environment |= PLENTY
    app = start.script("app", "--port", str(free_port))
    app.until("api_started")
    with caller(free_port) as client:
        client.post("/v1/notifications", json=email(1))
    app.stop()
    again = start.script("app", "--port", str(free_port))
    again.until("api_started")

    deadline = time.monotonic() + PATIENCE
    while "\nnotifications_queued 1.0\n" not in (metrics := _metrics(free_port)):
        assert time.monotonic() < deadline, metrics
        time.sleep(0.05)

    assert again.stop() == 0


def test_a_setting_without_effect_is_said_at_the_start(start: Starter, free_port: int) -> None:
    """Silence would look like consent."""
    app = start.script("app", "--port", str(free_port), NS_RETENTION_DAYS="30", NS_RATELIMIT_PER_HOUR="5")
    app.until("api_started")

    assert app.stop() == 0
    assert "NS_RETENTION_DAYS: has no effect yet" in app.output
    assert "NS_RATELIMIT_PER_HOUR: is no setting; did you mean NS_RATE_LIMIT_PER_HOUR?" in app.output


def _metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics").text
