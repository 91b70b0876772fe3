"""The first request a newcomer may want to send."""

import json
import shlex


def first_request(base_url: str, user_id: str) -> str:
    """Return a command line that sends this person an email; the token is left to the shell."""
    body = {
        "user_id": user_id,
        "channel": {"type": "email", "to": "ann@example.com", "subject": "Hello"},
        "body": "It works.",
    }
    return " \\\n  ".join(
        (
            f"curl {shlex.quote(base_url.rstrip('/') + '/v1/notifications')}",
            '-H "Authorization: Bearer $TOKEN"',
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}",
        )
    )
