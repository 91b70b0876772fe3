"""What a webhook's receiver gets, and the proof of who sent it (Standard Webhooks 1.0)."""

import re
from datetime import UTC, datetime

from pydantic_core import to_json
from standardwebhooks import Webhook

from notification_service.domain.notification import Message

_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]+={0,2}")


def payload(message: Message) -> str:
    """Return the body, the same on every attempt: its timestamp is the event's, not the attempt's."""
    return to_json(
        {
            "type": "notification",
            "timestamp": message.created_at.astimezone(UTC),
            "data": {
                "id": message.notification_id,
                "user_id": message.user_id,
                "body": message.body,
                "metadata": message.metadata,
                "reference": message.reference,
                "created_at": message.created_at.astimezone(UTC),
            },
        }
    ).decode()


class Signer:
    """Signs payloads with a secret of the form `whsec_` + base64."""

    def __init__(self, secret: str) -> None:
        """Raises ValueError, which never repeats the secret, when it has another form."""
        self._webhook = _webhook(secret)

    def headers(self, message: Message, body: str, *, at: datetime) -> dict[str, str]:
        """Return the headers of an attempt made `at` this time; the id is the same on every attempt."""
        identity = str(message.notification_id)
        moment = at.astimezone(UTC)
        return {
            "webhook-id": identity,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": self._webhook.sign(identity, moment, body),
        }


def _webhook(secret: str) -> Webhook:
    explanation = (
        "the webhook secret must be whsec_ followed by base64; make one with: openssl rand -base64 32"
    )
    if not _SECRET.fullmatch(secret):
        raise ValueError(explanation)
    try:
        return Webhook(secret)
    except ValueError:
        raise ValueError(explanation) from None
