"""What every provider call carries, so that the receiver's logs can be joined with ours."""

import re

from notification_service.domain.notification import Message

_HEADER_VALUE = re.compile(r"[!-~]{1,128}")


def trail_headers(message: Message) -> dict[str, str]:
    """Return the request's and the correlation's id and, when there is one, the trace's parent.

    They may come from another producer's message: what can't stand in a header is left out.
    """
    trail = {
        "X-Request-ID": message.trail.request_id,
        "X-Correlation-ID": message.trail.correlation_id,
        "traceparent": message.trail.traceparent,
    }
    return {name: value for name, value in trail.items() if value and _HEADER_VALUE.fullmatch(value)}
