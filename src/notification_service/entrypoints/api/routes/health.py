"""For load balancers and Prometheus; none of it needs a token."""

from starlette.requests import Request
from starlette.responses import Response

from notification_service.application.health import ReadyStatus
from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.answers import json_response, raw_json
from notification_service.entrypoints.api.describe import public
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.security import service_of

routes = direct_routes(tags=["Operations"])


@routes.get("/health", **public("Whether the process is alive", {200: answers.HealthAnswer}))
async def health(_: Request) -> Response:
    """Asks nothing else."""
    return raw_json(b'{"status":"ok"}', 200)


@routes.get(
    "/health/ready",
    **public(
        "Whether the process may get requests", {200: answers.ReadinessAnswer, 503: answers.ReadinessAnswer}
    ),
)
async def ready(request: Request) -> Response:
    """Asks every dependency. Degraded is still 200: work is accepted and stored."""
    readiness = await service_of(request).health.readiness()
    unready = readiness.status is ReadyStatus.UNREADY
    return json_response(readiness, 503 if unready else 200, {"Retry-After": "1"} if unready else {})


@routes.get("/metrics", **public("Metrics for Prometheus", {200: "text/plain"}))
async def metrics(request: Request) -> Response:
    """Of all API processes together."""
    service = service_of(request)
    body, media_type = service.metrics.render()
    return Response(body, headers={"Content-Type": media_type})
