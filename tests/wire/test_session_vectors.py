"""The vectors of sessions, computed again from docs/protocols/session.md with other primitives.

The Rust tests make the same file; here Noise, the offers, the macs, the cookie, the key schedule and the
frames are written down a second time, in the words of the page. Only b's address is taken from the file.
"""

from __future__ import annotations

import re
from hashlib import blake2s
from ipaddress import IPv4Address
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from tests.wire.noise import ROOT, Symmetric, agree, counting, public, vectors

PAGE = ROOT / "docs/protocols/session.md"
VECTORS = vectors("session.txt")
CHACHA, AES = 1, 2
NAMES = {CHACHA: "chacha", AES: "aes"}


A, B = counting(0x01), counting(0x21)
A_EPHEMERAL, A_INDEX = counting(0x40), counting(0x60, 4)
B_EPHEMERAL, B_INDEX = counting(0xC0), counting(0xE0, 4)
COOKIE_SECRET, COOKIE_NONCE = counting(0xE4), counting(0x04, 24)
"""The asked node's next random bytes, after a handshake that used up its rate."""

SOURCE = IPv4Address("192.0.2.1").packed + (9652).to_bytes(2)
ENTRIES = bytes.fromhex("8004 60010203 4001 00")
"""A packet of four bytes, partial, and an empty padding entry, which is extended."""
SHORT = bytes.fromhex("400f 06 40 11 6ab10203 0102030405060708")
"""A short packet: hop limit 64, UDP, the first word of its header, eight bytes of payload."""


def repair(which: int) -> bytes:
    """The entry with one of the sums over four frames of padding, which are a's third to sixth."""
    symbols = [bytes([0, 3 + n, 0x40, 1 + n, 0]) + bytes([n]) * n for n in range(1, 5)]
    total = bytes(len(symbols[-1]))
    for symbol in symbols:
        doubled = bytes(byte << 1 & 0xFF ^ (0x1D if byte & 0x80 else 0) for byte in total)
        factor = doubled if which else total
        total = bytes(a ^ b for a, b in zip(factor, symbol.ljust(len(total), b"\0"), strict=True))
    body = b"\7" + (2).to_bytes(7, "big") + bytes([4, which]) + total
    return (0x4000 | len(body)).to_bytes(2, "big") + body


def mac(key: bytes, data: bytes) -> bytes:
    return blake2s(data, key=key, digest_size=16).digest()


def mac1(receiver: bytes, data: bytes) -> bytes:
    return mac(blake2s(b"zosnet session mac1 v1" + receiver).digest(), data)


def offer(ciphers: int, index: bytes = b"") -> bytes:
    """What an end says of itself: two lanes, frames of any length; a response has its index, extension 1."""
    extension = b"\x01" + len(index).to_bytes(2) + index if index else b""
    return bytes([1, ciphers, 2, 0]) + (0xFFFF).to_bytes(2) + bytes(2) + extension


class Shaken(NamedTuple):
    """Both messages in front of their macs, and the roots from a to b and back."""

    initiation: bytes
    response: bytes
    roots: tuple[bytes, bytes]


def shake(cipher: int) -> Shaken:
    endpoint = VECTORS[f"{NAMES[cipher]}-initiation"][8:24]
    header = bytes.fromhex("01010000") + A_INDEX + endpoint
    noise = Symmetric("Noise_IK_25519_ChaChaPoly_BLAKE2s", b"zosnet session v1" + header)
    noise.mix_hash(public(B))
    initiation = header + noise.clear(public(A_EPHEMERAL))
    noise.mix_key(agree(A_EPHEMERAL, public(B)))
    initiation += noise.sealed(public(A))
    noise.mix_key(agree(A, public(B)))
    initiation += noise.sealed(offer(CHACHA | cipher))
    response = bytes.fromhex("02010000") + B_INDEX + A_INDEX + noise.clear(public(B_EPHEMERAL))
    noise.mix_key(agree(B_EPHEMERAL, public(A_EPHEMERAL)))
    noise.mix_key(agree(B_EPHEMERAL, public(A)))
    response += noise.sealed(offer(cipher, B_INDEX))
    return Shaken(initiation, response, noise.hkdf(b""))


def frame(
    cipher: int, root: bytes, receiver: bytes, lane: int, *, counter: int = 0, entries: bytes = ENTRIES
) -> bytes:
    """A frame of a lane, the first one if nothing else is said."""
    key = blake2s(b"zosnet session transport v1" + bytes([cipher]), key=root).digest()
    header = bytes.fromhex("04000000") + receiver + bytes([lane]) + counter.to_bytes(7)
    aead = AESGCM(key) if cipher == AES else ChaCha20Poly1305(key)
    return header + aead.encrypt(bytes(4) + header[8:], entries, header)


@pytest.mark.parametrize("cipher", NAMES)
def test_both_messages_are_those_of_the_page(cipher: int) -> None:
    shaken = shake(cipher)
    initiation = shaken.initiation + mac1(public(B), shaken.initiation) + bytes(16)
    response = shaken.response + mac1(public(A), shaken.response)
    assert VECTORS[f"{NAMES[cipher]}-initiation"] == initiation
    assert VECTORS[f"{NAMES[cipher]}-response"] == response
    assert (len(initiation), len(response)) == (160, 91)


@pytest.mark.parametrize("cipher", NAMES)
def test_frames_are_sealed_with_the_keys_of_the_handshake(cipher: int) -> None:
    there, back = shake(cipher).roots
    assert VECTORS[f"{NAMES[cipher]}-frame"] == frame(cipher, there, B_INDEX, 0)
    assert VECTORS[f"{NAMES[cipher]}-frame-back"] == frame(cipher, back, A_INDEX, 1)
    assert VECTORS[f"{NAMES[cipher]}-short"] == frame(cipher, there, B_INDEX, 0, counter=1, entries=SHORT)
    for which in (0, 1):
        sealed = frame(cipher, there, B_INDEX, 0, counter=6 + which, entries=repair(which))
        assert VECTORS[f"{NAMES[cipher]}-repair-{which}"] == sealed


def test_the_cookie_and_the_initiation_that_shows_it() -> None:
    covered = shake(CHACHA).initiation
    first_mac = mac1(public(B), covered)
    cookie = mac(COOKIE_SECRET, SOURCE)
    key = blake2s(COOKIE_NONCE, key=blake2s(b"zosnet session cookie v1" + public(B)).digest()).digest()
    sealed = ChaCha20Poly1305(key).encrypt(bytes(12), cookie, first_mac)
    assert VECTORS["cookie-reply"] == bytes.fromhex("03010000") + A_INDEX + COOKIE_NONCE + sealed
    second_mac = mac(cookie + bytes(16), covered + first_mac)
    assert VECTORS["initiation-with-mac2"] == covered + first_mac + second_mac


def test_the_hint() -> None:
    assert VECTORS["unknown"] == bytes.fromhex("05010000 01020304")


def test_the_page_shows_the_bytes_of_the_file() -> None:
    block = PAGE.read_text().split("## Vectors")[1].split("```text\n")[1].split("```")[0]
    shown = dict(re.findall(r"^(\S+)\n((?:  [0-9a-f]+\n)+)", block, re.M))
    assert {name: bytes.fromhex(digits) for name, digits in shown.items()} == {
        name: value for name, value in VECTORS.items() if not name.startswith("aes-")
    }
