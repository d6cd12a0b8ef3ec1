"""The rule for signatures, against a plain Ed25519 after RFC 8032 that forges what no library would."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zosnet._core import is_point, verify_signatures
from zosnet.ledger.engine import batch
from zosnet.ledger.engine.batch import BatchVerifier
from zosnet.ledger.signature import FIELD, ORDER, Signer, Verifier, verify

VECTORS = Path(__file__).with_name("signature_vectors.json")

D = -121665 * pow(121666, -1, FIELD) % FIELD
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(p: Point, q: Point) -> Point:
    (a, b), (c, d) = p, q
    product = D * a * b * c * d % FIELD
    x = (a * d + b * c) * pow(1 + product, -1, FIELD) % FIELD
    return x, (b * d + a * c) * pow(1 - product, -1, FIELD) % FIELD


def times(n: int, p: Point) -> Point:
    found = ZERO
    while n:
        if n & 1:
            found = add(found, p)
        p, n = add(p, p), n >> 1
    return found


def lift(y: int, sign: int) -> Point:
    square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    assert (x * x - square) % FIELD == 0
    return (x if x & 1 == sign else -x % FIELD), y


def pack(p: Point) -> bytes:
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


BASE = lift(4 * pow(5, -1, FIELD) % FIELD, 0)


def order_8() -> Point:
    """Any point times the group's order lies in the small subgroup; one that has order 8 spans it."""
    y = 2
    while True:
        y += 1
        square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
        if pow(square, (FIELD - 1) // 2, FIELD) == 1:
            small = times(ORDER, lift(y, 0))
            if times(4, small) != ZERO:
                return small


SMALL = [times(n, order_8()) for n in range(8)]


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % ORDER


def forge(
    secret: int, nonce: int, message: bytes, in_key: Point = ZERO, in_r: Point = ZERO
) -> tuple[bytes, bytes]:
    """Key and signature with small points added to key and R."""
    a, r = pack(add(times(secret, BASE), in_key)), pack(add(times(nonce, BASE), in_r))
    s = (nonce + challenge(r, a, message) * secret) % ORDER
    return a, r + s.to_bytes(32, "little")


def vectors() -> list[dict[str, str | bool]]:
    """What a backend must say, case by case. Run this file to write them down."""
    found: list[dict[str, str | bool]] = []

    def case(why: str, key: bytes, message: bytes, signature: bytes, good: bool) -> None:
        found.append(
            {
                "why": why,
                "key": key.hex(),
                "message": message.hex(),
                "signature": signature.hex(),
                "good": good,
            }
        )

    key, signature = forge(5, 7, b"plain")
    s = int.from_bytes(signature[32:], "little")
    case("an ordinary signature", key, b"plain", signature, True)
    case("another message", key, b"other", signature, False)
    case("S plus the order", key, b"plain", signature[:32] + (s + ORDER).to_bytes(32, "little"), False)
    case("S with its highest bit", key, b"plain", signature[:63] + bytes([signature[63] | 0x80]), False)
    for n, small in enumerate(SMALL):
        zero = bytes(32)
        case(f"key of small order {n}, S = 0", pack(small), b"any", pack(ZERO) + zero, False)
        case(f"R of small order {n}", key, b"plain", pack(small) + signature[32:], False)
    for y in (FIELD, FIELD + 1, (1 << 255) - 1):
        for sign in (0, 1 << 255):
            raw = (y | sign).to_bytes(32, "little")
            case("key not canonical", raw, b"any", pack(ZERO) + bytes(32), False)
            case("R not canonical", key, b"plain", raw + signature[32:], False)
    case("x = 0 with a sign", (1 | 1 << 255).to_bytes(32, "little"), b"any", pack(ZERO) + bytes(32), False)
    case("not on the curve", (2).to_bytes(32, "little"), b"any", signature, False)
    # The equation without a cofactor: right when the small parts cancel, wrong when only 8 times it is.
    for small in SMALL[1:]:
        for number in range(64):
            message = b"mixed %d" % number
            a, raw = forge(5, 7, message, in_key=small)
            if challenge(raw[:32], a, message) % 8 == 0:
                case("small part in the key that cancels", a, message, raw, True)
                break
        message = b"mixed"
        a, raw = forge(5, 7, message, in_r=small)
        case("small part in R", a, message, raw, False)
    return found


def test_the_vectors_are_those_that_are_written_down() -> None:
    assert json.loads(VECTORS.read_text()) == vectors()


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text()) if VECTORS.exists() else [])
def test_a_vector(case: dict[str, Any]) -> None:
    key, message, signature = (bytes.fromhex(case[part]) for part in ("key", "message", "signature"))
    assert verify(key, message, signature) is case["good"], case["why"]
    assert Verifier()(key, message, signature) is case["good"]
    assert verify_signatures([(key, message, signature)]) == [case["good"]], case["why"]


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 511))
def test_one_flipped_bit_is_seen(secret: bytes, message: bytes, bit: int) -> None:
    signer = Signer(secret)
    signature = bytearray(signer.sign(message))
    assert verify(signer.public, message, bytes(signature)) and is_point(signer.public)
    signature[bit // 8] ^= 1 << bit % 8
    assert not verify(signer.public, message, bytes(signature))
    assert verify_signatures([(signer.public, message, bytes(signature))]) == [False]


def is_on_curve(raw: bytes) -> bool:
    """Euler's criterion for the square of x."""
    y = int.from_bytes(raw, "little") % 2**255
    square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
    return pow(square, (FIELD - 1) // 2, FIELD) < 2


numbers = st.integers(0, 2**256 - 1) | st.integers(-30, 30).map(lambda n: (FIELD + n) % 2**256)


@given(numbers.map(lambda n: n.to_bytes(32, "little")) | st.sampled_from([pack(p) for p in SMALL]))
def test_a_key_is_a_canonical_point_that_is_not_of_small_order(raw: bytes) -> None:
    y = int.from_bytes(raw, "little") % 2**255
    wanted = y < FIELD and is_on_curve(raw) and y not in [small[1] for small in SMALL]
    assert is_point(raw) is wanted
    assert not is_point(raw[1:]) and not is_point(raw + b"\0")


@given(st.binary(max_size=40), st.binary(max_size=9), st.binary(max_size=70))
def test_both_verifiers_refuse_nonsense_alike(key: bytes, message: bytes, signature: bytes) -> None:
    assert verify_signatures([(key, message, signature)]) == [verify(key, message, signature)]


def test_what_was_judged_beforehand_is_not_judged_again() -> None:
    check, signer = BatchVerifier(), Signer(bytes(32))
    good, bad = signer.sign(b"good"), bytes(64)
    known = (signer.public, b"good", good)
    check.prepare([known, (signer.public, b"bad", bad), known])
    assert check(signer.public, b"good", good) and not check(signer.public, b"bad", bad)
    assert check.checked == 2
    check.prepare([known, (signer.public, b"bad", bad)])
    assert not check(signer.public, b"bad", bad) and check.checked == 2


def test_few_wrong_signatures_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_BAD", 2)
    check, key = BatchVerifier(), Signer(bytes(32)).public
    claims = [(key, b"%d" % number, bytes(64)) for number in range(3)]
    check.prepare(claims)
    assert check.unknown(claims) == {check.mark(*claim): claim for claim in claims[:2]}
    assert not any(check(*claim) for claim in claims)


def test_a_signature_is_checked_once() -> None:
    check, signer = Verifier(limit=2), Signer(bytes(32))
    for message in (b"a", b"a", b"b", b"c", b"c"):
        assert check(signer.public, message, signer.sign(message))
    assert check.checked == 3
    assert not check(signer.public, b"a", bytes(64)) and not check(b"", b"a", signer.sign(b"a"))


def test_what_was_good_lately_is_remembered_and_no_more_than_there_may_be() -> None:
    check = BatchVerifier(limit=20)
    claims = [(bytes(32), b"%d" % number, bytes(64)) for number in range(100)]
    for count, claim in enumerate(claims, 1):
        check.learn([check.mark(*claim)], [True])
        assert len(check._good) <= 20 and check.unknown(claims[max(0, count - 17) : count]) == {}


def test_a_secret_is_never_shown() -> None:
    assert "01" * 4 not in repr(Signer(b"\x01" * 32)) and repr(Signer(b"\x01" * 32)) == "Signer()"


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")


def test_what_was_judged_is_known_by_a_whole_hash() -> None:
    """Two claims with one mark, one of them wrong, must cost no less to find than a key: 128 bits, not 64."""
    assert len(Verifier().mark(bytes(32), b"", bytes(64))) == 32
