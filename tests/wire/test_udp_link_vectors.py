"""The vectors of `udp://` links, computed again from docs/protocols/udp-link.md with other primitives.

The Rust tests make the same file; here Noise, the macs, the key schedule and the frames are written down a
second time, in the words of the page.
"""

from __future__ import annotations

from hashlib import blake2s

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from tests.wire.noise import Symmetric, agree, counting, public, vectors

VECTORS = vectors("udp-link.txt")
CASES = ["xx-chacha", "xx-aes", "ik-chacha", "ik-aes"]


DIALLER, DIALLED = counting(0x01), counting(0x21)
EPHEMERALS = counting(0x4D), counting(0xC8)


def read(case: str) -> tuple[list[bytes], bytes, bytes]:
    """What the messages of a handshake say, and the roots there and back."""
    pattern = case[:2].upper()
    first = VECTORS[f"{case}-11-dialler"]
    noise = Symmetric(f"Noise_{pattern}_25519_ChaChaPoly_BLAKE2s", b"zosnet link v1" + first[:8])
    initiator, responder = EPHEMERALS
    said = []
    if pattern == "IK":
        noise.mix_hash(public(DIALLED))
    message = first[8:-32]
    assert message[:32] == public(initiator)
    noise.mix_hash(message[:32])
    rest = message[32:]
    if pattern == "IK":
        noise.mix_key(agree(initiator, public(DIALLED)))
        assert noise.open(rest[:48]) == public(DIALLER)
        rest = rest[48:]
        noise.mix_key(agree(DIALLER, public(DIALLED)))
    said.append(noise.open(rest))

    message = VECTORS[f"{case}-12-dialled"][12:]
    assert message[:32] == public(responder)
    noise.mix_hash(message[:32])
    rest = message[32:]
    noise.mix_key(agree(initiator, public(responder)))
    if pattern == "IK":
        noise.mix_key(agree(DIALLER, public(responder)))
    else:
        assert noise.open(rest[:48]) == public(DIALLED)
        rest = rest[48:]
        noise.mix_key(agree(initiator, public(DIALLED)))
    said.append(noise.open(rest))

    if pattern == "XX":
        rest = VECTORS[f"{case}-13-dialler"][8:]
        assert noise.open(rest[:48]) == public(DIALLER)
        noise.mix_key(agree(DIALLER, public(responder)))
        said.append(noise.open(rest[48:]))
    there, back = noise.hkdf(b"")
    return said, there, back


def derive(root: bytes, label: bytes, case: str) -> AESGCM | ChaCha20Poly1305:
    cipher = 2 if case.endswith("aes") else 1
    key = blake2s(label + bytes([cipher]), key=root).digest()
    return AESGCM(key) if cipher == 2 else ChaCha20Poly1305(key)


def frames(plaintext: bytes) -> dict[int, bytes]:
    found = {}
    while plaintext:
        length = int.from_bytes(plaintext[1:3], "big")
        found[plaintext[0]] = plaintext[3 : 3 + length]
        plaintext = plaintext[3 + length :]
    return found


@pytest.mark.parametrize("case", CASES)
def test_mac1_covers_the_initiation(case: str) -> None:
    first = VECTORS[f"{case}-11-dialler"]
    responder = public(DIALLED) if case.startswith("ik") else bytes(32)
    key = blake2s(b"zosnet link mac1 v1" + responder).digest()
    assert first[-32:-16] == blake2s(first[:-32], key=key, digest_size=16).digest()
    assert first[-16:] == bytes(16)
    assert len(first) >= 192 >= len(VECTORS[f"{case}-12-dialled"])


@pytest.mark.parametrize("case", CASES)
def test_both_ends_say_what_they_offer(case: str) -> None:
    said, _, _ = read(case)
    ciphers, pick = (3, 2) if case.endswith("aes") else (1, 1)
    for offer, bits, index, instance in zip(
        said, (ciphers, pick, ciphers), (0x49, 0xE8, 0x49), (0x40, 0xC0, 0x40), strict=False
    ):
        shown = counting(instance, 8)
        if case.startswith("xx") and offer is said[0]:
            shown = bytes(8)
        assert offer[:20] == bytes([1, bits, 1, 0, 0xFF, 0xFF, 0, 0]) + counting(index, 4) + shown
    assert set(said[0][20:]) <= {0, len(said[0]) - 23}


@pytest.mark.parametrize("case", CASES)
def test_the_first_control_frames_are_pings(case: str) -> None:
    _, there, back = read(case)
    for side, root in (("dialler", there), ("dialled", back)):
        datagram = VECTORS[f"{case}-15-{side}"]
        nonce = bytes(4) + datagram[8:16]
        key = derive(root, b"zosnet link control v1", case)
        found = frames(key.decrypt(nonce, datagram[16:], datagram[:16]))
        assert found[1] == (1).to_bytes(4, "big") + bytes(8)


@pytest.mark.parametrize("case", CASES)
def test_the_tag_of_a_relayed_packet_covers_its_header(case: str) -> None:
    _, there, _ = read(case)
    datagram = VECTORS[f"{case}-16-dialler"]
    header = datagram[:48]
    assert header[:4] == bytes([0x16, 64, 0, 0])
    assert header[16:] == b"\x04" * 16 + b"\x05" * 16
    nonce = bytes(4) + header[8:16]
    key = derive(there, b"zosnet link relay v1", case)
    assert datagram[48:] == b"\xdd" * 16 + key.encrypt(nonce, b"", header)[:8]
