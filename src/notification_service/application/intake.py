"""Makes something of the messages that other producers put into our queues, or parks them."""

import asyncio
import hashlib
from collections.abc import Sequence

import structlog

from notification_service.application.accept import Accept
from notification_service.application.burial import bury
from notification_service.application.submission import RateLimitedError, Submission
from notification_service.domain.acceptance import IdempotencyKey
from notification_service.domain.errors import UnavailableError
from notification_service.domain.events import Buried, Letter, ParkedLetter, UnreadableEventError, read_object
from notification_service.domain.notification import Draft, Reason, Trail
from notification_service.domain.sign_in_alert import sign_in_alert
from notification_service.observability.metrics import Metrics
from notification_service.observability.tracing import valid_traceparent
from notification_service.ports import Broker, DeadLetterStore

CALLER = "broker"
"""In whose name letters are accepted: what identifies them are its idempotency keys."""
LONGEST_CORRELATION_ID = 128

log = structlog.get_logger(__name__)


class Intake:
    """The use case behind every message that is not our own event."""

    def __init__(
        self, *, accept: Accept, dead_letters: DeadLetterStore, broker: Broker, metrics: Metrics
    ) -> None:
        """What can be read is accepted as if it had come over HTTP, the rest is a dead letter."""
        self._accept = accept
        self._dead_letters = dead_letters
        self._broker = broker
        self._metrics = metrics

    async def __call__(self, letters: Sequence[Letter]) -> None:
        """Return once each letter is written down, as a notification or as a dead letter.

        A letter that comes again is recognised by its name. Raises an `UnavailableError` when something can't
        be written down now.
        """
        answers = await asyncio.gather(*map(self._take_in, letters), return_exceptions=True)
        parked = [answer for answer in answers if isinstance(answer, ParkedLetter)]
        if parked:
            await self._park(parked)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _park(self, parked: Sequence[ParkedLetter]) -> None:
        await self._dead_letters.park(parked)
        for each in parked:
            self._metrics.failed(each.reason)
            log.warning("parked", source=each.letter.source, reason=each.reason, detail=each.detail)
        await bury(self._broker, [_buried(each) for each in parked])

    async def _take_in(self, letter: Letter) -> ParkedLetter | None:
        try:
            draft = _draft_of(letter)
            await self._accept(_submission(letter, draft))
        except UnreadableEventError as error:
            return ParkedLetter(letter=letter, reason=Reason.UNREADABLE, detail=str(error))
        except UnknownTemplateError as error:
            return ParkedLetter(letter=letter, reason=Reason.UNKNOWN_TEMPLATE, detail=str(error))
        except RateLimitedError as error:
            return ParkedLetter(letter=letter, reason=Reason.RATE_LIMITED, detail=str(error))
        except UnavailableError:
            raise
        except Exception as error:
            log.exception("letter_refused", source=letter.source)
            return ParkedLetter(letter=letter, reason=Reason.UNREADABLE, detail=type(error).__name__)
        return None


class UnknownTemplateError(ValueError):
    """the message names a template, and there is no such template"""


def _draft_of(letter: Letter) -> Draft:
    """Raises `UnreadableEventError` or `UnknownTemplateError`."""
    message = read_object(letter.body)
    if {"user_id", "template_code"} <= message.keys():
        raise UnknownTemplateError(UnknownTemplateError.__doc__)
    if message.keys() == {"email", "name"}:
        return sign_in_alert(email=message["email"], name=message["name"])
    raise UnreadableEventError("neither an event of this service nor a message it knows from others")


def _submission(letter: Letter, draft: Draft) -> Submission:
    identity = _usable(letter.correlation_id) or letter.identity[:32]
    return Submission(
        drafts=(draft,),
        trail=Trail(
            request_id=identity,
            correlation_id=identity,
            traceparent=valid_traceparent(letter.traceparent),
        ),
        render=lambda _: b"",
        status_code=202,
        key=IdempotencyKey(
            caller=CALLER, key=letter.identity, fingerprint=hashlib.sha256(letter.body).digest()
        ),
    )


def _usable(correlation_id: str | None) -> str | None:
    """As one that comes over HTTP: 1 to 128 visible ASCII characters, else there is none."""
    if not correlation_id or len(correlation_id) > LONGEST_CORRELATION_ID:
        return None
    return correlation_id if all("!" <= each <= "~" for each in correlation_id) else None


def _buried(parked: ParkedLetter) -> Buried:
    letter = parked.letter
    return Buried(
        reason=parked.reason,
        body=letter.body,
        key=letter.key,
        correlation_id=letter.correlation_id,
        traceparent=letter.traceparent,
    )
