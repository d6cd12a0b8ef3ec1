"""ICMPv6 echo, against the packet of the reference's section 11.4, which a kernel's ping sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import PeerError
from zosnet.wire.echo import EchoFailed, EchoReply, EchoRequest, decode_answer
from zosnet.wire.ipv6 import Icmp, Ipv6Header, checksum_of, encode_icmp_packet

A = bytes.fromhex("05a6f0c6f365177d66be4a2bd9fdb59e")
B = bytes.fromhex("05e521957cc4bfb0bb4d44f80afcd14e")
PROBE = EchoRequest(A, B, 0x1234, 1, b"mycelium")


def answer(kind: int, body: bytes, rest: int = 0) -> bytes:
    return encode_icmp_packet(B, A, 61, Icmp(kind, 0, rest, body))


def test_the_recorded_request_comes_out() -> None:
    assert PROBE.encode() == bytes.fromhex(
        "6000000000103a4005a6f0c6f365177d66be4a2bd9fdb59e05e521957cc4bfb0bb4d44f80afcd14e"
        "80003874123400016d7963656c69756d"
    )


def test_a_reply_is_recognised() -> None:
    assert decode_answer(answer(129, b"mycelium", 0x1234_0001)) == EchoReply(B, 0x1234, 1, b"mycelium", 61)


def test_an_error_names_the_probe_it_quotes() -> None:
    failed = decode_answer(answer(2, PROBE.encode(), 1280))
    assert failed == EchoFailed(B, 2, 0, 1280, B, 0x1234, 1, b"mycelium")


def test_a_quotation_may_be_cut_in_the_data() -> None:
    failed = decode_answer(answer(3, PROBE.encode()[:50]))
    assert failed == EchoFailed(B, 3, 0, 0, B, 0x1234, 1, b"my")


@pytest.mark.parametrize(
    "body", [b"", PROBE.encode()[:47], PROBE.encode()[:6] + b"\x06" + PROBE.encode()[7:], b"\0" * 60]
)
def test_an_error_about_anything_else_is_none_of_ours(body: bytes) -> None:
    assert decode_answer(answer(1, body)) is None


def test_other_packets_are_none_of_ours() -> None:
    assert decode_answer(PROBE.encode()) is None
    assert decode_answer(Ipv6Header(0, 6, 64, B, A).encode()) is None


def test_damage_is_noticed() -> None:
    good = answer(129, b"odd")
    for bad in (good[:-1], good + b"\0", good[:-1] + b"x", good[:44], b"\x40" + good[1:], good[:39]):
        with pytest.raises(PeerError):
            decode_answer(bad)
    with pytest.raises(PeerError):
        decode_answer(Ipv6Header(4, 58, 64, B, A).encode() + bytes(4))


@given(st.binary(max_size=101))
def test_a_checksum_checks_itself(body: bytes) -> None:
    message = Icmp(129, 0, 7, body).encode(A, B)
    assert checksum_of(A, B, message) == 0


@given(st.binary(max_size=120))
def test_no_bytes_raise_anything_but_peer_error(data: bytes) -> None:
    for packet in (data, PROBE.encode()[:40] + data, answer(1, data)):
        try:
            decode_answer(packet)
        except PeerError:
            pass
