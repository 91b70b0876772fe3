"""The form of a sign-in for programs."""

from typing import Literal

from pydantic import ConfigDict

from notification_service.entrypoints.api.fields import Password, UserId
from notification_service.entrypoints.api.requests import Body


class SignInForm(Body):
    """What OAuth2 password clients send (RFC 6749, 4.3.2); only the name and the password are used."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "ann", "password": "correct horse"}]}
    )

    username: UserId
    password: Password
    grant_type: Literal["password", ""] = "password"
    scope: str = ""
    client_id: str = ""
    client_secret: str = ""
