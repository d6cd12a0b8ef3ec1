"""The feeder's table: what it announces passes every filter, and requests are answered."""

from __future__ import annotations

from zosnet.lab.feeder import Table, identities
from zosnet.model.prefix import OVERLAY, Prefix
from zosnet.wire.babel import (
    Hello,
    Ihu,
    RouteRequest,
    SeqnoRequest,
    Tlv,
    Update,
    decode_control,
    encode_control,
)
from zosnet.wire.packet import ControlPacket, StreamDecoder


def tlvs(data: bytes) -> list[Tlv | None]:
    packets = StreamDecoder().feed(data) if data else []
    return [decode_control(packet.packet) for packet in packets if isinstance(packet, ControlPacket)]


def test_identities_come_from_the_seed_and_own_what_they_announce() -> None:
    owners = identities(50, seed=3)
    assert owners == identities(50, seed=3)
    assert owners != identities(50, seed=4)
    updates = tlvs(Table(owners).announcement())
    assert len(updates) == 50
    for update in updates:
        assert isinstance(update, Update)
        assert OVERLAY.covers(update.prefix)
        assert update.prefix.contains(update.router_id.address)


def test_requests_are_answered_as_a_peer_would() -> None:
    owners = identities(3, seed=1)
    table = Table(owners)
    mine = owners[0].subnet
    assert isinstance(tlvs(table.answer(Hello(1)))[0], Ihu)
    assert len(tlvs(table.answer(RouteRequest(None, 0)))) == 3
    (update,) = tlvs(table.answer(RouteRequest(Prefix.of(owners[0].address, 128), 0)))
    assert isinstance(update, Update)
    assert update.prefix == mine
    (update,) = tlvs(table.answer(SeqnoRequest(mine, owners[0], 5, 64)))
    assert isinstance(update, Update)
    assert update.seqno == 5
    (update,) = tlvs(table.answer(SeqnoRequest(mine, owners[1], 9, 64)))
    assert isinstance(update, Update)
    assert update.seqno == 5, "another router's seqno is none of ours"
    assert table.answer(SeqnoRequest(Prefix.parse("400::/64"), owners[0], 5, 64)) == b""
    assert table.answer(Ihu(1)) == b""
    assert encode_control(Hello(1))
