"""The ports: what the application needs from the outside, and what each guarantees.

Each sentence of a method's docstring is a test in the port's conformance suite. More are in `announcing`.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from notification_service.domain.acceptance import Acceptance, IdempotencyKey, StoredAnswer
from notification_service.domain.channels import ChannelType
from notification_service.domain.events import Buried, Parcel, ParkedLetter
from notification_service.domain.filters import DeadLetterFilter, NotificationFilter
from notification_service.domain.mailbox import MailboxFilter, MailboxMessage, MailboxMessageId
from notification_service.domain.notification import (
    Backlog,
    Claim,
    DeadLetter,
    DeadLetterId,
    Entry,
    Message,
    Notification,
    NotificationId,
    Page,
    ProviderReceipt,
    Settlement,
    Status,
)
from notification_service.domain.people import Principal, Session, User

# --- accept -----------------------------------------------------------------------------------------


class NotificationStore(Protocol):
    """The truth. Each method is one transaction; a failed one leaves nothing behind.

    Every method raises `StoreUnavailableError` when the database is out of reach.
    """

    def now(self) -> datetime:
        """The database's time as last measured: never ahead of it, read without asking it."""

    async def add_many(
        self, acceptances: Sequence[Acceptance], *, keep_answers: timedelta, hold: timedelta = timedelta()
    ) -> Sequence[StoredAnswer | None]:
        """Store all acceptances at once, together with their idempotency keys.

        What is pending and due is the caller's to publish for `hold`: until then no relay takes it.

        Returns, in the order given, None for each acceptance that is now stored, and for one whose key is
        taken already the answer kept under it (nothing of that acceptance is stored). Two acceptances with
        the same key in one call behave like one after the other. Keys are kept for `keep_answers`; one past
        its time counts as absent.
        """

    async def correct_answers(self, answers: Sequence[tuple[IdempotencyKey, StoredAnswer]]) -> None:
        """Replace the answers kept under keys, as far as they are still kept."""

    async def find_answers(self, keys: Sequence[IdempotencyKey]) -> Sequence[StoredAnswer | None]:
        """Return the answer kept under each key, in the order given, or None."""

    async def claim(
        self,
        channel: ChannelType,
        *,
        limit: int,
        lease: timedelta,
        ids: Sequence[NotificationId] | None = None,
    ) -> Sequence[Claim]:
        """Take at most `limit` due notifications of a channel: pending or queued becomes sending.

        The most urgent first, then the longest due. No notification is claimed twice while its lease, which
        the database's clock measures, holds. What is expired, final or not yet due is never returned. With
        `ids`, only those.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[NotificationId]:
        """Write down what claims led to, each with its line of history, and return which took effect.

        One takes effect only while its notification is `sending` under the claim's epoch, so that repeating a
        call is harmless. One whose claim was found lost meanwhile is added to the history as such and changes
        nothing else. `sent_at` is set once. A dead letter is stored with the settlement that made it.
        """

    async def lost_claims(self, *, limit: int) -> Sequence[Claim]:
        """Return claims whose lease has run out by the database's clock, the longest lost first."""

    async def expire(self, *, limit: int) -> int:
        """Make at most `limit` waiting notifications past their `expires_at` expired; count them."""

    async def forget_answers(self, *, limit: int) -> int:
        """Delete at most `limit` idempotency keys past their time; count them."""

    async def check(self) -> str:
        """Return a line about the database (product and version) after asking it something."""

    async def backlog(self) -> Backlog:
        """Count what waits, what is being sent and what is dead, for gauges."""


class Outbox(Protocol):
    """Which due notifications no queue holds, when the queue is a broker and not the table itself.

    A waiting notification has at most one holder whom to trust: a publisher, for seconds, while it is
    pending; the queue, for `trust`, while it is queued. Without one it is the next relay's to publish. Each
    method is one transaction and raises `StoreUnavailableError`; the database's clock decides.
    """

    async def take(self, *, limit: int, hold: timedelta) -> Sequence[Notification]:
        """Take at most `limit` pending, due notifications that nobody holds, and hold them for `hold`.

        The most urgent first, then the longest due. No two callers get the same one within its hold.
        """

    async def mark_queued(self, notifications: Sequence[Notification], *, trust: timedelta) -> None:
        """Write down that the queue holds them: pending becomes queued, trusted for `trust`.

        One that has moved on since it was taken, or that no publisher holds, is left alone.
        """

    async def release(self, notifications: Sequence[Notification]) -> None:
        """Let go of what could not be published: any relay may take it at once."""

    async def distrust(self, channels: Collection[ChannelType], *, limit: int) -> int:
        """Make at most `limit` queued notifications pending whose trust has run out; count them.

        For channels whose queue is known to hold no old ones. The longest distrusted come first.
        """

    async def adopt(self, *, limit: int) -> int:
        """Make at most `limit` queued ones pending that no broker was ever given; count them."""


# --- look and intervene -----------------------------------------------------------------------------


class NotificationArchive(Protocol):
    """What happened to notifications, for those who ask; and the transitions that people ask for."""

    async def get(self, notification_id: NotificationId) -> Notification | None:
        """Return the notification, or None."""

    async def get_many(self, ids: Collection[NotificationId]) -> Sequence[Notification]:
        """Return those that exist, in any order."""

    async def find(
        self, where: NotificationFilter, *, limit: int, after: NotificationId | None = None
    ) -> Page[Notification]:
        """Return the newest `limit` that match and come after `after` in that order; quick at any depth."""

    async def page(
        self, where: NotificationFilter, *, number: int, size: int
    ) -> tuple[Sequence[Notification], int]:
        """Return the page numbered from 1, newest first, and how many match in all.

        A total of more than 10,000 may be a few seconds old.
        """

    async def history(self, notification_id: NotificationId) -> Sequence[Entry]:
        """Return every attempt and decision, oldest first."""

    async def cancel(self, notification_id: NotificationId) -> Notification | None:
        """Cancel a waiting notification and return it; None when its state forbids it or it doesn't exist."""

    async def retry(self, notification_id: NotificationId, *, by: str, status: Status) -> Notification | None:
        """Make a failed notification due now, as `status`, with a fresh budget; its dead letter is redriven.

        Returns None when its state forbids it or it doesn't exist. `retry_count` goes on counting.
        """


class DeadLetterStore(Protocol):
    """Everything parked."""

    async def park(self, letters: Sequence[ParkedLetter]) -> None:
        """Keep messages that no notification belongs to; one that is kept already is left alone."""

    async def get(self, dead_letter_id: DeadLetterId) -> DeadLetter | None:
        """Return the dead letter, or None."""

    async def find(
        self, where: DeadLetterFilter, *, limit: int, after: DeadLetterId | None = None
    ) -> Page[DeadLetter]:
        """Return the newest `limit` that match and come after `after` in that order."""

    async def redrive(self, ids: Sequence[DeadLetterId], *, by: str, status: Status) -> Sequence[DeadLetter]:
        """Give each open dead letter's notification a fresh budget, due now, as `status`.

        Returns those that were redriven; one already redriven, or whose notification is no longer failed, is
        left alone.
        """

    async def redrive_matching(
        self, where: DeadLetterFilter, *, by: str, status: Status, limit: int
    ) -> Sequence[DeadLetter]:
        """Redrive at most `limit` open dead letters that match, the oldest first, and return them."""


class UserStore(Protocol):
    """Who may sign in."""

    async def add(self, user: User) -> bool:
        """Store a new user; False when the name is taken."""

    async def get(self, user_id: str) -> User | None:
        """Return the user, or None."""

    async def everybody(self) -> Sequence[User]:
        """Return all users by name."""

    async def set_password_hash(self, user_id: str, password_hash: str) -> bool:
        """Replace the password's hash; False when there is no such user."""

    async def set_disabled(self, user_id: str, *, disabled: bool) -> bool:
        """Shut a user out or let it in again; False when there is no such user."""


class SessionStore(Protocol):
    """Browser sessions and the one-time links that begin them; secrets arrive here hashed only."""

    async def add_link(self, link_hash: bytes, principal: Principal, *, lifetime: timedelta) -> None:
        """Keep a link that signs `principal` in once."""

    async def redeem_link(self, link_hash: bytes) -> Principal | None:
        """Use the link up and return whom it signs in; None when it is unknown, used or too old."""

    async def add(self, session_hash: bytes, session: Session, *, lifetime: timedelta) -> None:
        """Keep a new session."""

    async def get(self, session_hash: bytes) -> Session | None:
        """Return the session; None when it is unknown or too old."""

    async def remove(self, session_hash: bytes) -> None:
        """End the session."""

    async def remove_all_of(self, subject: str) -> None:
        """End every session of somebody, and make their links worthless."""


class MailboxStore(Protocol):
    """What the mailbox provider kept instead of sending."""

    async def put_many(self, messages: Sequence[MailboxMessage]) -> None:
        """Store all messages at once."""

    async def get(self, message_id: MailboxMessageId) -> MailboxMessage | None:
        """Return the message, or None."""

    async def find(
        self, where: MailboxFilter, *, limit: int, after: MailboxMessageId | None = None
    ) -> Page[MailboxMessage]:
        """Return the newest `limit` that match and come after `after` in that order."""

    async def clear(self, where: MailboxFilter) -> int:
        """Delete what matches; count it."""


# --- move -------------------------------------------------------------------------------------------


class Wakeups(Protocol):
    """Tells waiting workers, in this process and others, that a channel has due work. May be lost."""

    async def ring(self, channels: Iterable[ChannelType]) -> None:
        """Wake everybody who waits for one of the channels. Never raises: the poll is the safety net."""

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Hear the rings of other processes until the block ends."""

    async def wait(self, channel: ChannelType, *, at_most: timedelta) -> None:
        """Return at the first ring for the channel since the last wait, at the latest after `at_most`."""


class Broker(AbstractAsyncContextManager["Broker"], Protocol):
    """How due work reaches a worker. It may lose everything at any time: the store is the truth.

    Entering it begins to connect and doesn't wait for it, leaving it closes everything. Lost connections are
    made anew for as long as it is open. What can't be done now raises `BrokerUnavailableError`, at the latest
    after a few seconds.
    """

    accepts_as: Status
    """The status a due notification is stored with: queued where the store itself is the queue."""

    async def publish(self, notifications: Sequence[Notification]) -> frozenset[NotificationId]:
        """Hand out due notifications and return those that are safely in the queue.

        Cancelled, it leaves open which ones are.
        """

    async def wake(self, channels: Iterable[ChannelType]) -> None:
        """Say that the store holds due work of these channels which nobody has published."""

    def consuming(self, channels: frozenset[ChannelType]) -> AbstractAsyncContextManager[None]:
        """Receive work of these channels, or be woken for it, until the block ends.

        Leaving it gives back what was received and not settled.
        """

    async def receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        """Wait until there may be due work of a channel and return it, the most urgent first.

        Returns at most `limit` notifications and letters together. `more` says that the last claim was as
        large as it could be, so there may be more right now. Cancelled, it hands out nothing.
        """

    async def settled(self, parcel: Parcel) -> None:
        """Take note that everything of the parcel is written down in the store. Never raises."""

    async def drained(self) -> frozenset[ChannelType]:
        """Return the channels of whose queue all is gone that was published before the last call.

        Gone is what workers have received and, where the broker can tell, settled. The first call returns
        none.
        """

    async def bury(self, dead: Sequence[Buried]) -> None:
        """Show dead letters in the broker's own dead-letter queue, where there is one."""

    async def check(self) -> str:
        """Return a line about the broker after asking it something; raises `BrokerUnavailableError`."""


# --- limit ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """One user's standing after a question to the limiter."""

    allowed: bool
    limit: int
    remaining: int
    reset: timedelta
    """Until the window is empty again."""
    retry_after: timedelta = timedelta()
    """Until one more would be allowed; zero when it is allowed."""


class Limiter(Protocol):
    """Counts notifications by receiver over a sliding window."""

    async def allow_many(self, user_ids: Sequence[str]) -> Sequence[Allowance]:
        """Ask for one notification for each id, in order; what is refused isn't counted.

        A user who stands in the list several times is counted several times, the earlier ones winning.
        Raises `LimiterUnavailableError` when nobody can tell.
        """

    async def give_back_many(self, user_ids: Sequence[str]) -> None:
        """Take back one counted notification for each id: what was allowed was not stored after all."""

    async def check(self) -> str:
        """Return a line about where is counted; raises `LimiterUnavailableError` when out of reach."""


# --- send -------------------------------------------------------------------------------------------


class Provider(AbstractAsyncContextManager["Provider"], Protocol):
    """Takes messages to their receivers. Entering it opens connections, leaving it closes them."""

    name: str
    channels: frozenset[ChannelType]

    async def send(self, message: Message) -> ProviderReceipt:
        """Send one message and return once the provider has taken it.

        Raises `TransientDeliveryError`, `PermanentDeliveryError` or `AmbiguousDeliveryError`, nothing else.
        Safe to call concurrently; carries the notification's id as a constant key on every attempt; no error
        holds an address, a body or a secret.
        """

    async def check(self) -> str:
        """Return a line about the provider after reaching it without sending; raises `DeliveryError`."""


# --- sign in ----------------------------------------------------------------------------------------


class Tokens(Protocol):
    """Bearer tokens."""

    def issue(self, principal: Principal, *, lifetime: timedelta) -> str:
        """Return a token for the principal that is valid for `lifetime`."""

    def verify(self, token: str) -> Principal:
        """Return whom the token speaks for; raises `NotAuthenticatedError` for every other token."""


class PasswordHasher(Protocol):
    """Slow hashes of passwords; never more at once than the machine can bear."""

    async def hash(self, password: str) -> str:
        """Return a salted hash."""

    async def verify(self, password_hash: str, password: str) -> bool:
        """Tell whether the password is the one that was hashed."""
