"""The inner header, and a relay's ICMP recorded from a live Mycelium (reference, sections 5, 11.4, 11.6)."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import PeerError, SecretKey
from zosnet.wire.echo import EchoRequest
from zosnet.wire.inner import L3, MESSAGE, OUT_OF_BAND_ICMP, InnerHeader, OutOfBandIcmp
from zosnet.wire.packet import DataPacket, decode_packet

A, B, C = (SecretKey(bytes(range(first, first + 32))) for first in (0x01, 0x21, 0x41))
A_IP, B_IP, C_IP = (key.public().address().packed for key in (A, B, C))

SENT = bytes.fromhex(
    "0100000000005801046820b6ba90a8dac310ad1c70b705be05e521957cc4bfb0bb4d44f80afcd14e"
    "ec8b38e24018f9ebd9b218523585962dfd74b10e6cc6c1b060dc5dbe089a224993aef9e5ec0c41734e5f187c4a9c5980f121906c42247fba92ec52a2"
    "66f67eb622d912c5d8663f0a7036f3cf430df005afb84cc45c98afa0"
)
ANSWER = bytes.fromhex(
    "010000000000b83f05a6f0c6f365177d0000000000000000046820b6ba90a8dac310ad1c70b705be"
    "42f885101c3043698be3ef68169b4f568affc64b772f4f85ec9d44d44ea78c6baf5478be9da8a74f733036059ebf229efbfc8d60716ff965426be9e3"
    "9f68c0ff8765ec7ec75354bf0d5744a09e705519dac03881811721603389fc397d3d4b11ee047d04e09f472c9208dcd43fa73c59bb08afb01e48c8c6"
    "4cf585a65f3576f4d0388217ef9d0090ed440ba9f22fd3193fcf7a52cbc898c39149705db147393c3060e7efa039e24a46048966dedf3c4238a9e215"
    "f063f081"
)


def opened(packet: bytes, one: SecretKey, other: SecretKey) -> bytes:
    """The plaintext of a data packet: AES-256-GCM, the nonce last, no associated data (section 5.2)."""
    data = decode_packet(packet)
    assert isinstance(data, DataPacket)
    return AESGCM(one.shared(other.public())).decrypt(data.payload[-12:], data.payload[:-12], None)


def test_an_encrypted_packet_of_mycelium_opens_to_our_echo_request() -> None:
    payload = bytes.fromhex(
        "339af4f6432548e227e65e027db557177d9a9fd4156a254925593309003be787aa9de153c40aa16f1c6587c715218833868a83220d294603de45ee61"
        "540e8c012204cf72c2057021ef5551a7173e1a1d7cd493cfb3567223"
    )
    plaintext = AESGCM(A.shared(B.public())).decrypt(payload[-12:], payload[:-12], None)
    assert plaintext == InnerHeader(L3).encode() + EchoRequest(A_IP, B_IP, 0x1234, 1, b"mycelium").encode()


def test_an_encrypted_init_of_mycelium_opens_to_a_message() -> None:
    payload = bytes.fromhex(
        "d0688bcf6095639bd46eabdf7eeb3b6b66ee71823f8d0a60697a5d03f324fed695779e91b49071bfb5ca5e2c0ce4d1a56b879ea4ac88f9effd55"
    )
    plaintext = AESGCM(A.shared(B.public())).decrypt(payload[-12:], payload[:-12], None)
    assert InnerHeader.decode(plaintext) == InnerHeader(MESSAGE)


def test_a_recorded_relay_error_is_read_and_written_back() -> None:
    plaintext = opened(ANSWER, C, A)
    assert InnerHeader.decode(plaintext) == InnerHeader(OUT_OF_BAND_ICMP)
    error = OutOfBandIcmp.decode(plaintext[4:])
    assert error == OutOfBandIcmp(B_IP, A_IP[:8] + bytes(8), C_IP, 3, 0, 0, SENT[40:])
    assert error.encode() == plaintext[4:]
    assert opened(SENT, C, B)[4:] == EchoRequest(C_IP, B_IP, 0x1234, 1, b"mycelium", hop_limit=1).encode()


@pytest.mark.parametrize("plaintext", ["", "010100", "02000000"])
def test_bad_inner_headers_are_the_peers_fault(plaintext: str) -> None:
    with pytest.raises(PeerError):
        InnerHeader.decode(bytes.fromhex(plaintext))


def test_a_type_from_the_future_is_no_error() -> None:
    assert InnerHeader.decode(InnerHeader(9, 0xBEEF).encode()) == InnerHeader(9, 0xBEEF)


def test_a_relay_error_is_bounded_and_whole() -> None:
    whole = OutOfBandIcmp(B_IP, A_IP, C_IP, 3, 0, 0, bytes(1232)).encode()
    assert OutOfBandIcmp.decode(whole).quoted == bytes(1232)
    not_icmp = whole[:22] + b"\x06" + whole[23:]
    damaged = whole[:-1] + b"\x01"
    for bad in (whole + b"\0", whole[:63], whole[:-2], not_icmp, damaged):
        with pytest.raises(PeerError):
            OutOfBandIcmp.decode(bad)


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_peer_error(data: bytes) -> None:
    for decode in (InnerHeader.decode, OutOfBandIcmp.decode):
        try:
            decode(data)
        except PeerError:
            pass
