"""The reference of this API, for programs and for people."""

from starlette.requests import Request
from starlette.responses import Response

from notification_service.entrypoints.api.answers import json_response
from notification_service.entrypoints.api.describe import public
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.openapi import document
from notification_service.entrypoints.api.reference import reference_page

routes = direct_routes(tags=["Operations"])


@routes.get("/openapi.json", **public("The OpenAPI document", {200: "application/json"}))
async def openapi(request: Request) -> Response:
    """OpenAPI 3.1."""
    return json_response(document(request.app))


@routes.get("/docs", **public("The reference as a page", {200: "text/html"}))
async def docs(request: Request) -> Response:
    """Made from the OpenAPI document."""
    return reference_page(document(request.app))
