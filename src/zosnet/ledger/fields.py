"""Fields that several records share: names that are names, keys that are keys, and sets of keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from zosnet._core import is_point
from zosnet.ledger.encoding import (
    U8,
    Bytes32,
    Bytes64,
    Codec,
    Malformed,
    Ordered,
    Text,
    codec_of,
    digest,
    encode,
)
from zosnet.ledger.signature import Verifier
from zosnet.model.name import domain_trouble, label_trouble, name_trouble

__all__ = [
    "AnyName",
    "DomainName",
    "Key",
    "KeySet",
    "Label",
    "Signature",
    "TopName",
    "account_of",
]


def _checked(trouble: Callable[[str], str | None]) -> Codec:
    text = codec_of(Text)

    def write(value: str) -> bytes:
        if problem := trouble(value):
            raise ValueError(f"{value!r}: {problem}")
        return text.write(value)

    def read(data: bytes, at: int) -> tuple[str, int]:
        value, end = text.read(data, at)
        if problem := trouble(value):
            raise Malformed(f"{value!r}: {problem}")
        return value, end

    return Codec(write, read)


def _key() -> Codec:
    raw = codec_of(Bytes32)

    def read(data: bytes, at: int) -> tuple[bytes, int]:
        value, end = raw.read(data, at)
        if not is_point(value):
            raise Malformed("a key is not a point that may be one")
        return value, end

    return Codec(raw.write, read)


TopName = Annotated[str, _checked(lambda text: label_trouble(text, shortest=3))]
AnyName = Annotated[str, _checked(name_trouble)]
DomainName = Annotated[str, _checked(domain_trouble)]
Label = Annotated[str, _checked(label_trouble)]
Key = Annotated[bytes, _key()]
"""An Ed25519 public key."""

MOST_KEYS = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, by the key in this place of a set."""

    index: U8
    raw: Bytes64


Signatures = Annotated[tuple[Signature, ...], Ordered(Signature, MOST_KEYS)]


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys of which `threshold` must sign."""

    threshold: U8
    keys: Annotated[tuple[bytes, ...], Ordered(Key, MOST_KEYS)]

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.keys):
            raise ValueError(f"{self.threshold} of {len(self.keys)} keys can't be wanted")

    def trouble(self, message: bytes, signatures: tuple[Signature, ...], verify: Verifier) -> str | None:
        """What keeps `signatures` from being this set's of `message`; None where nothing does.

        Exactly the threshold, each by another key, so that nobody can add to or vary what was signed.
        """
        if len(signatures) != self.threshold:
            return f"{self.threshold} signatures are wanted, not {len(signatures)}"
        before = -1
        for each in signatures:
            if not before < each.index < len(self.keys):
                return "a signature is by no key of the set, or by one twice"
            before = each.index
        if all(verify(self.keys[each.index], message, each.raw) for each in signatures):
            return None
        return "a signature is wrong"


def account_of(keys: KeySet) -> bytes:
    """The account that starts with these keys: the hash of the set, whatever keys it has later."""
    return digest("account v1", encode(keys))
