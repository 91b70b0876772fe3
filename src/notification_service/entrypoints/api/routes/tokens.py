"""Tokens for those who have a name and a password."""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from notification_service.entrypoints.api import answers
from notification_service.entrypoints.api.answers import json_response
from notification_service.entrypoints.api.bodies import read_form
from notification_service.entrypoints.api.describe import described
from notification_service.entrypoints.api.direct import direct_routes
from notification_service.entrypoints.api.queries import refuse_query
from notification_service.entrypoints.api.security import client_address, service_of
from notification_service.entrypoints.api.sign_in_form import SignInForm
from notification_service.entrypoints.api.validation import validated

routes = direct_routes(tags=["Tokens"])


@routes.post(
    "/v1/auth/token",
    **described("Sign in", answer=answers.TokenAnswer, form=SignInForm, errors=[401, 429], is_public=True),
)
async def sign_in(request: Request) -> Response:
    """Exchange a name and a password for a bearer token, as OAuth2 password clients do."""
    refuse_query(request)
    form = validated(SignInForm, await read_form(request))
    service = service_of(request)
    principal = await service.people.sign_in(form.username, form.password, address=client_address(request))
    seconds = service.settings.jwt_ttl_seconds
    token = service.tokens.issue(principal, lifetime=timedelta(seconds=seconds))
    return json_response({"access_token": token, "token_type": "bearer", "expires_in": seconds})
