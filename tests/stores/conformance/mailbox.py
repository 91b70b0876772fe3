"""`MailboxStore`: what was kept instead of being sent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from notification_service.domain.mailbox import MailboxFilter, MailboxMessage, MailboxMessageId
from tests.stores.house import House
from tests.stores.making import new_id

EVERYTHING = MailboxFilter()


def a_message(house: House, **changes: Any) -> MailboxMessage:
    made = MailboxMessage(
        id=MailboxMessageId(new_id()),
        notification_id=new_id(),
        user_id="ann",
        channel="email",
        to="ann@example.com",
        subject="Hello",
        text="Your parcel is here.",
        html=None,
        headers={"Message-ID": "<1@example.com>"},
        received_at=house.store.now(),
    )
    return replace(made, **changes)


class MailboxConformance:
    """The sentences of `MailboxStore`."""

    async def test_a_message_is_kept_as_it_is(self, house: House) -> None:
        message = a_message(house, html="<p>héllo 🦊</p>", subject=None, headers={})

        await house.mailbox.put_many([message])

        assert await house.mailbox.get(message.id) == message
        assert await house.mailbox.get(MailboxMessageId(new_id())) is None

    async def test_all_messages_of_a_call_are_stored(self, house: House) -> None:
        messages = [a_message(house) for _ in range(300)]

        await house.mailbox.put_many(messages)

        page = await house.mailbox.find(EVERYTHING, limit=1000)
        assert {message.id for message in page.rows} == {message.id for message in messages}

    async def test_none_at_all_may_be_put(self, house: House) -> None:
        await house.mailbox.put_many([])

        assert (await house.mailbox.find(EVERYTHING, limit=10)).rows == ()

    async def test_a_failed_call_stores_nothing(self, house: House) -> None:
        message = a_message(house)
        await house.mailbox.put_many([message])

        with pytest.raises(Exception):  # noqa: B017, PT011 - the driver's own
            await house.mailbox.put_many([a_message(house), message])

        assert len((await house.mailbox.find(EVERYTHING, limit=10)).rows) == 1

    async def test_pages_show_the_newest_first_and_everything_once(self, house: House) -> None:
        messages = [a_message(house) for _ in range(7)]
        await house.mailbox.put_many(messages)
        found: list[MailboxMessage] = []
        has_more = True
        while has_more:
            page = await house.mailbox.find(EVERYTHING, limit=3, after=found[-1].id if found else None)
            found += page.rows
            has_more = page.has_more
            await house.mailbox.put_many([a_message(house)])

        assert found == messages[::-1]

    @pytest.mark.parametrize(
        ("search", "expected"),
        [
            ("PARCEL", {"plain", "percent"}),
            ("bob@", {"other"}),
            ("%", {"percent"}),
            ("_", {"percent"}),
            ("\\", {"percent"}),
            ("invoice", {"other"}),
            ("nowhere", set()),
        ],
    )
    async def test_search_finds_any_part_in_any_case_and_takes_every_character_as_it_is(
        self, house: House, search: str, expected: set[str]
    ) -> None:
        await house.mailbox.put_many(
            [
                a_message(house, user_id="plain"),
                a_message(house, user_id="percent", text="parcel: 100 % of_it \\"),
                a_message(house, user_id="other", to="bob@example.com", text="-", subject="Invoice"),
            ]
        )

        page = await house.mailbox.find(MailboxFilter(search=search), limit=10)

        assert {message.user_id for message in page.rows} == expected

    async def test_a_filter_finds_and_clears_what_matches_and_nothing_else(self, house: House) -> None:
        now = house.store.now()
        old = a_message(house, received_at=now - timedelta(hours=2))
        sms = a_message(house, channel="sms", to="+4915112345678")
        bobs = a_message(house, user_id="bob")
        for where, expected in [
            (MailboxFilter(user_id="bob"), [bobs]),
            (MailboxFilter(channel="sms"), [sms]),
            (MailboxFilter(to="+4915112345678"), [sms]),
            (MailboxFilter(notification_id=old.notification_id), [old]),
            (MailboxFilter(since=now), [bobs, sms]),
            (MailboxFilter(since=now, user_id="ann"), [sms]),
            (EVERYTHING, [bobs, sms, old]),
        ]:
            await house.mailbox.clear(EVERYTHING)
            await house.mailbox.put_many([old, sms, bobs])

            found = (await house.mailbox.find(where, limit=10)).rows
            cleared = await house.mailbox.clear(where)

            left = (await house.mailbox.find(EVERYTHING, limit=10)).rows
            assert list(found) == expected
            assert cleared == len(expected)
            assert set(left := [each.id for each in left]) == {
                each.id for each in (old, sms, bobs) if each not in expected
            }
