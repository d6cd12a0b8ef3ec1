"""The inbox against a list."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.message import Limits, Message
from zosnet.message.inbox import Inbox, key_of
from zosnet.model import MessageId, PublicKey


def message(
    number: int, topic: bytes = b"", source: int = 0, size: int = 10, is_reply: bool = False
) -> Message:
    return Message(
        id=MessageId(number.to_bytes(8, "big")),
        source=IPv6Address(source),
        source_key=PublicKey(bytes([source]) * 32),
        destination=IPv6Address(1),
        topic=topic,
        payload=bytes(size),
        is_reply=is_reply,
    )


topics = st.sampled_from([b"", b"a", b"b"])


@given(st.lists(topics | st.just(None), max_size=30), topics | st.none())
def test_it_is_a_queue_with_a_filter(steps: list[bytes | None], wanted: bytes | None) -> None:
    inbox, model = Inbox(Limits()), list[Message]()
    for number, topic in enumerate(steps):
        if topic is not None:
            new = message(number, topic)
            inbox.add(new)
            model.append(new)
        elif found := inbox.find(wanted):
            assert found == next(each for each in model if wanted in (None, each.topic))
            inbox.remove(key_of(found))
            model.remove(found)
        assert len(inbox) == len(model) and inbox.bytes_held == sum(len(each.payload) for each in model)
        assert all(key_of(each) in inbox for each in model)


def test_a_reply_is_found_by_what_it_answers() -> None:
    inbox = Inbox(Limits())
    for each in (message(1), message(2, source=1), message(2, is_reply=True)):
        inbox.add(each)
    found = inbox.find(reply_to=MessageId((2).to_bytes(8, "big")))
    assert found is not None and found.is_reply


@pytest.mark.parametrize(
    ("limits", "other_source_fits"),
    [
        (Limits(inbox_messages=1), False),
        (Limits(inbox_bytes=15), False),
        (Limits(inbox_source_messages=1), True),
        (Limits(inbox_source_bytes=15), True),
    ],
)
def test_one_source_cannot_take_the_room_of_others(limits: Limits, other_source_fits: bool) -> None:
    inbox = Inbox(limits)
    first = message(1)
    assert inbox.has_room(key_of(first), 10)
    inbox.add(first)
    assert not inbox.has_room(key_of(message(2)), 10)
    assert inbox.has_room(key_of(message(2, source=1)), 10) is other_source_fits
    inbox.remove(key_of(first))
    assert inbox.has_room(key_of(message(2)), 10)


def test_an_unread_message_keeps_its_place() -> None:
    inbox = Inbox(Limits())
    inbox.add(message(1))
    assert not inbox.has_room(key_of(message(1)), 10)
