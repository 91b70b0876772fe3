"""The first request a newcomer may want to send."""

import json
import shlex


def first_request(base_url: str, user_id: str) -> str:
    """Return a command line that sends this person an email; the token is left to the shell."""
    channel = {"type": "email", "to": "ann@example.com", "subject": "Hello"}
    fields = {"user_id": user_id, "channel": channel, "body": "It works."}
    body = ",\n       ".join(f"{json.dumps(name)}: {_json(value)}" for name, value in fields.items())
    return " \\\n  ".join(
        (
            f"curl {shlex.quote(base_url.rstrip('/') + '/v1/notifications')}",
            '-H "Authorization: Bearer $TOKEN"',
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote('{' + body + '}')}",
        )
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
