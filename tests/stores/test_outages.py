"""A database that is away or goes away: always the domain's word for it, quickly, and never for good."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from notification_service.adapters.stores.sql import engine
from notification_service.adapters.stores.sql.engine import Database
from notification_service.adapters.stores.sql.wakeups import SqlWakeups
from notification_service.domain.acceptance import Acceptance
from notification_service.domain.errors import StoreRefusesError, StoreUnavailableError
from notification_service.domain.filters import DeadLetterFilter, NotificationFilter
from notification_service.domain.mailbox import MailboxFilter
from notification_service.domain.notification import Claim, Status
from notification_service.domain.people import Principal, Session
from tests.stores.conformance.mailbox import a_message
from tests.stores.conformance.people import a_user
from tests.stores.house import AN_HOUR, LEASE, House
from tests.stores.making import a_key, a_notification, new_id, sent

QUICKLY = 3.0


def calls(house: House) -> list[Callable[[], Awaitable[Any]]]:
    """Every method of every port that asks the database."""
    claim = _a_claim()
    store, archive, letters = house.store, house.archive, house.dead_letters
    users, sessions, mailbox = house.users, house.sessions, house.mailbox
    session = Session(principal=Principal("ann"), csrf_token="")
    return [
        lambda: store.add_many([Acceptance(notifications=(a_notification(),))], keep_answers=AN_HOUR),
        lambda: store.find_answers([a_key()]),
        lambda: store.claim("email", limit=1, lease=LEASE),
        lambda: store.claim("email", limit=1, lease=LEASE, ids=[new_id()]),
        lambda: store.settle([sent(claim)]),
        lambda: store.lost_claims(limit=1),
        lambda: store.expire(limit=1),
        lambda: store.forget_answers(limit=1),
        store.check,
        store.backlog,
        lambda: archive.get(new_id()),
        lambda: archive.find(NotificationFilter(), limit=1),
        lambda: archive.page(NotificationFilter(), number=1, size=1),
        lambda: archive.history(new_id()),
        lambda: archive.cancel(new_id()),
        lambda: archive.retry(new_id(), by="root", status=Status.QUEUED),
        lambda: letters.get(new_id()),  # type: ignore[arg-type]
        lambda: letters.find(DeadLetterFilter(), limit=1),
        lambda: letters.redrive([new_id()], by="root", status=Status.QUEUED),  # type: ignore[list-item]
        lambda: letters.redrive_matching(DeadLetterFilter(), by="root", status=Status.QUEUED, limit=1),
        lambda: users.add(a_user(house)),
        lambda: users.get("ann"),
        users.everybody,
        lambda: users.set_password_hash("ann", "hash"),
        lambda: users.set_disabled("ann", disabled=True),
        lambda: sessions.add_link(b"link", session.principal, lifetime=AN_HOUR),
        lambda: sessions.add(b"hash", session, lifetime=AN_HOUR),
        lambda: sessions.get(b"hash"),
        lambda: sessions.redeem_link(b"hash"),
        lambda: sessions.remove(b"hash"),
        lambda: mailbox.put_many([a_message(house)]),
        lambda: mailbox.get(new_id()),  # type: ignore[arg-type]
        lambda: mailbox.find(MailboxFilter(), limit=1),
        lambda: mailbox.clear(MailboxFilter()),
    ]


def _a_claim() -> Claim:
    now = datetime.now(UTC)
    return Claim(notification=a_notification(), epoch=1, attempts_in_budget=0, claimed_at=now)


async def expect_unavailable(call: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(StoreUnavailableError):
        await call()


def unreachable(url: str) -> House:
    """The stores of a process whose database isn't there."""
    return House(Database(url, pool_size=2), url, AsyncExitStack())


async def test_a_closed_port_is_an_outage_in_every_method_and_quickly(free_port: int) -> None:
    house = unreachable(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port}/nothing")
    began = time.monotonic()

    for call in calls(house):
        await expect_unavailable(call)

    assert time.monotonic() - began < QUICKLY
    await house.database.aclose()


async def test_a_missing_folder_is_an_outage_in_every_method(tmp_path: Path) -> None:
    house = unreachable(f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'notifications.db'}")

    for call in calls(house):
        await expect_unavailable(call)

    await asyncio.sleep(0.05)  # the driver's threads report once more
    await house.database.aclose()


async def test_a_writer_that_does_not_let_go_is_an_outage_and_then_over(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", timedelta(milliseconds=100))
    async with House.open(sqlite_url) as house, House.open(sqlite_url) as other:
        async with other.database.transaction():
            await expect_unavailable(house.add_one)
            found = await house.archive.find(NotificationFilter(), limit=1)

        assert found.rows == ()
        await house.add_one()
        assert await house.count() == 1


class TestPostgres:
    """What happens to a server that is there."""

    @pytest.fixture
    async def house(self, postgres_url: str) -> AsyncIterator[House]:
        async with House.open(postgres_url, pool_size=2) as house:
            yield house

    @pytest.fixture
    async def administrator(self, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(postgres_url)
        yield connection
        await connection.close()

    async def terminate(self, administrator: asyncpg.Connection, where: str = "true") -> int:
        ended = await administrator.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            f" AND datname = current_database() AND application_name = 'notification-service' AND {where}"
        )
        return len(ended)

    async def test_every_method_works_once_the_tables_are_there(self, house: House) -> None:
        """The calls of this file are right ones: what fails above fails for the outage."""
        for call in calls(house):
            await call()

    async def test_a_connection_cut_in_a_statement_is_an_outage_and_the_next_call_works(
        self, house: House, administrator: asyncpg.Connection
    ) -> None:
        async with administrator.transaction():
            await administrator.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
            waiting = asyncio.create_task(house.add_one())
            while not await self.terminate(  # noqa: ASYNC110 - nobody tells when
                administrator, "wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0.01)
            with pytest.raises(StoreUnavailableError):
                await waiting

        await house.add_one()

        assert await house.count() == 1

    async def test_a_connection_cut_in_a_transaction_leaves_nothing_behind(
        self, house: House, administrator: asyncpg.Connection
    ) -> None:
        one = await house.add_one()

        async def cut_in_the_middle() -> None:
            async with house.database.transaction() as connection:
                await connection.execute(text("UPDATE notifications SET status = 'sent'"))
                await self.terminate(administrator, "state = 'idle in transaction'")
                await connection.execute(text("SELECT 1"))

        await expect_unavailable(cut_in_the_middle)

        assert await house.status(one.id) is Status.QUEUED

    async def test_connections_cut_while_idle_cost_no_call(
        self, house: House, administrator: asyncpg.Connection
    ) -> None:
        """As after a restart of the server."""
        await asyncio.gather(*(house.add_one() for _ in range(3)))
        assert await self.terminate(administrator) > 1
        await asyncio.sleep(0.1)

        await asyncio.gather(*(house.add_one() for _ in range(3)))

        assert await house.count() == 6

    async def test_a_server_that_does_not_answer_is_an_outage_in_time(
        self, postgres_url: str, administrator: asyncpg.Connection
    ) -> None:
        async with House.open(postgres_url, statement_timeout=timedelta(milliseconds=300)) as house:
            async with administrator.transaction():
                await administrator.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
                await expect_unavailable(house.add_one)

            await house.add_one()

            assert await house.count() == 1

    async def test_more_callers_than_connections_wait_their_turn(self, house: House) -> None:
        await asyncio.gather(*(house.add_one() for _ in range(60)))

        assert await house.count() == 60

    async def test_a_fault_of_the_data_is_no_outage_and_leaves_nothing_behind(self, house: House) -> None:
        """Its neighbours can be stored without it."""
        good, bad = a_notification(), a_notification(body="a NUL \x00 in the text")
        acceptances = [Acceptance(notifications=(each,)) for each in (good, bad)]

        with pytest.raises(Exception) as caught:  # noqa: PT011 - the driver's own
            await house.store.add_many(acceptances, keep_answers=AN_HOUR)

        assert not isinstance(caught.value, StoreUnavailableError)
        assert await house.count() == 0
        await house.store.add_many(acceptances[:1], keep_answers=AN_HOUR)
        assert await house.count() == 1

    async def test_a_fault_never_tells_what_the_data_was(self, house: House) -> None:
        """What a statement was given holds bodies and addresses; it must not reach a log."""
        secret = "a body \x00 nobody may read"

        with pytest.raises(Exception) as caught:  # noqa: PT011 - the driver's own
            await house.add_one(body=secret)

        assert "nobody may read" not in str(caught.value)
        assert "ann@example.com" not in str(caught.value)

    async def test_the_listener_comes_back_after_its_connection_was_cut(
        self, house: House, administrator: asyncpg.Connection
    ) -> None:
        other = await house.another()
        ours, theirs = await house.wakeups(), await other.wakeups()
        await self.terminate(administrator, "query LIKE 'LISTEN%'")
        await asyncio.sleep(1.2)
        await theirs.wait("email", at_most=timedelta(milliseconds=1))

        await ours.ring(["email"])

        began = time.monotonic()
        await theirs.wait("email", at_most=timedelta(seconds=5))
        assert time.monotonic() - began < 1

    async def test_nobody_gets_a_connection_that_listens(self, house: House) -> None:
        """Whoever listened takes its connection along."""
        async with SqlWakeups(house.database).listening():
            await asyncio.sleep(0.1)
        heard = []

        async def look() -> None:
            async with house.database.statement() as connection:
                asked = await connection.execute(text("SELECT count(*) FROM pg_listening_channels()"))
                heard.append(asked.scalar_one())
                await asyncio.sleep(0.05)

        await asyncio.gather(look(), look(), look())

        assert heard == [0, 0, 0]

    async def test_ringing_never_raises_though_the_database_is_away(self, free_port: int) -> None:
        away = unreachable(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port}/nothing")
        wakeups = await away.wakeups()

        await wakeups.ring(["email"])

        await wakeups.wait("email", at_most=timedelta(seconds=5))
        await asyncio.sleep(0.05)
        await away.close()


@pytest.mark.postgres
@pytest.mark.parametrize(("part", "wrong"), [("database", "no_such_database"), ("username", "no_such_user")])
async def test_a_database_that_refuses_us_says_what_to_correct(
    postgres_database: str, part: str, wrong: str
) -> None:
    """People mend a wrong name or password while the service waits: an outage, and no fault of ours."""
    right = make_url(postgres_database).set(drivername="postgresql+asyncpg")
    database = Database(
        right.set(**{part: wrong}).render_as_string(hide_password=False),  # type: ignore[arg-type]
        pool_size=1,
    )

    with pytest.raises(StoreRefusesError, match="correct NS_DATABASE_URL"):
        await database.check()

    await database.aclose()
