"""The LAN beacon of the reference's section 11.7."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import PeerError, PublicKey, RouterId
from zosnet.wire.beacon import Beacon

B = PublicKey.parse("5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b")
VECTOR = bytes.fromhex(f"6d7963656c69756d 25b3 {B.hex} 0000 aabbccddeeff")
VALUE = Beacon(9651, RouterId.of(B, 0, bytes.fromhex("aabbccddeeff")))


def test_the_reference_vector_holds_both_ways() -> None:
    assert VALUE.encode() == VECTOR
    assert Beacon.decode(VECTOR) == VALUE


@pytest.mark.parametrize(
    "datagram",
    [b"", VECTOR[:-1], VECTOR + b"\0", b"Mycelium" + VECTOR[8:], VECTOR[:8] + b"\0\0" + VECTOR[10:]],
)
def test_anything_else_is_no_beacon(datagram: bytes) -> None:
    with pytest.raises(PeerError):
        Beacon.decode(datagram)


@given(st.integers(1, 0xFFFF), st.binary(min_size=40, max_size=40).map(RouterId))
def test_beacons_survive_the_wire(port: int, router_id: RouterId) -> None:
    assert Beacon.decode(Beacon(port, router_id).encode()) == Beacon(port, router_id)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_peer_error(data: bytes) -> None:
    for datagram in (data, b"mycelium" + data):
        try:
            Beacon.decode(datagram)
        except PeerError:
            pass
