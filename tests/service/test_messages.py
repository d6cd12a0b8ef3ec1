"""Messages between whole nodes: they arrive, are answered, and are handed to the program of their topic."""

from __future__ import annotations

import asyncio
import base64
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from tests.service.nodes import A, B, at, reaches, text

from zosnet.lab.fake_dataplane import Ether
from zosnet.lab.fake_node import fake_node, secret_of, until
from zosnet.message import Message, TopicPolicy, TopicRule
from zosnet.model.errors import UsageError
from zosnet.model.message_id import MessageId
from zosnet.model.prefix import Prefix
from zosnet.service.views import MessageRequest


def test_messages_arrive_and_are_answered() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(a, b) and reaches(b, a))
            waiting = asyncio.ensure_future(a.node.messages.receive(None, 5.0))
            await asyncio.sleep(0)
            sent = b.node.messages.send(text(b"hello", address=a.address))
            got = await waiting
            assert got is not None and base64.b64decode(got.payload) == b"hello"
            a.node.messages.send(text(b"back", public_key=b.node.key().public_key, reply_to=got.id))
            reply = await b.node.messages.wait_for_reply(sent.id, 5.0)
            assert reply is not None and reply.is_reply
            found = await b.node.messages.status(sent.id, 5.0)
            assert found is not None and found.state in {"received", "read"}

    asyncio.run(main())


def test_a_peeking_receiver_leaves_the_message() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a) and reaches(a, b))
            peeking = asyncio.ensure_future(a.node.messages.receive(None, 5.0, peek=True))
            await asyncio.sleep(0)
            b.node.messages.send(text(b"once", address=a.address))
            seen, taken = await peeking, await a.node.messages.receive(None, 0.0)
            assert seen is not None and seen == taken
            assert await a.node.messages.receive(None, 0.01) is None

    asyncio.run(main())


def test_a_receiver_gets_only_its_topic() -> None:
    async def main() -> None:
        ether = Ether()
        async with fake_node(ether, A) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a) and reaches(a, b))
            topic = base64.b64encode(b"news").decode()
            waiting = asyncio.ensure_future(a.node.messages.receive(topic, 5.0))
            await asyncio.sleep(0)
            b.node.messages.send(text(b"other", address=a.address))
            b.node.messages.send(text(b"news", address=a.address, topic=topic))
            got = await waiting
            assert got is not None and got.topic == topic

    asyncio.run(main())


def test_a_message_that_comes_as_the_time_is_up_is_not_lost() -> None:
    """It has left the queue and its sender was told so: who waited must get it."""

    async def main() -> None:
        message = Message(
            id=MessageId(b"12345678"), source=IPv6Address("400::1"), source_key=secret_of(B).public(),
            destination=IPv6Address("400::2"), topic=b"", payload=b"late", is_reply=False,
        )  # fmt: skip
        async with fake_node(Ether(), A) as a:
            messages = a.node.messages
            waiting = asyncio.create_task(messages.receive(None, 0.05))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.04, messages._deliver, message)
            time.sleep(0.08)  # noqa: ASYNC251 - both are due in one turn of the loop
            got = await waiting
            assert got is not None and base64.b64decode(got.payload) == b"late"

    asyncio.run(main())


@pytest.mark.parametrize("path", ["relative", "", "/nul\0", "/\ud800", "/" + "x" * 107])
def test_a_topic_is_forwarded_to_nothing_that_is_no_socket_path(path: str) -> None:
    """Half a surrogate pair once ended the whole node at the first message."""

    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            topics = a.node.messages.topics
            topics.add(b"job")
            with pytest.raises(UsageError, match="absolute path"):
                topics.set_forward(b"job", path)
            assert topics.set_forward(b"job", "/run/program.sock")

    asyncio.run(main())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"echo " + await reader.read(65536))
    writer.close()


@pytest.mark.parametrize("answers", [True, False])
def test_a_topic_is_handed_to_its_program(tmp_path: Path, answers: bool) -> None:
    async def main() -> None:
        ether, path = Ether(), tmp_path / "program.sock"
        rule = TopicRule(subnets=(Prefix.parse("400::/7"),), forward_socket=str(path))
        policy = TopicPolicy(rules={b"job": rule})
        program = await asyncio.start_unix_server(echo, path if answers else tmp_path / "other.sock")
        async with fake_node(ether, A, topics=policy) as a, fake_node(ether, B, at(A)) as b:
            await until(lambda: reaches(b, a) and reaches(a, b))
            sent = b.node.messages.send(
                text(b"work", address=a.address, topic=base64.b64encode(b"job").decode())
            )
            if answers:
                reply = await b.node.messages.wait_for_reply(sent.id, 5.0)
                assert reply is not None and base64.b64decode(reply.payload) == b"echo work"
                assert await a.node.messages.receive(None, 0.0) is None
            else:
                await until(lambda: a.node.messages.counters()["forward_failed"])
                assert await a.node.messages.receive(None, 0.0) is not None
        program.close()

    asyncio.run(main())


def test_waiting_receivers_are_released_at_the_end() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            async with fake_node(Ether(), A) as a:
                waiting = group.create_task(a.node.messages.receive(None, 3600.0))
                await asyncio.sleep(0)
            assert await waiting is None

    asyncio.run(main())


@pytest.mark.parametrize(
    "request_",
    [
        text(b"x"),
        text(b"x", address="400::1", public_key="00" * 32),
        text(b"x", address="2001:db8::1"),
        text(b"x", address="nonsense"),
        text(b"x", public_key="zz" * 32),
        MessageRequest("***", address="400::1"),
        MessageRequest("", address="400::1", deadline=-1.0),
    ],
)
def test_a_message_that_cannot_be_is_refused(request_: MessageRequest) -> None:
    async def main() -> None:
        async with fake_node(Ether(), A) as a:
            with pytest.raises(UsageError):
                a.node.messages.send(request_)

    asyncio.run(main())
