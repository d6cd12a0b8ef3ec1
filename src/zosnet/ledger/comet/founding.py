"""How operators found a ledger together: each introduces itself, and all make the same genesis of it.

Nobody leads: from the same introductions, label and parameters everybody makes the same genesis, whose hash
is the chain's id. So comparing ids is all that has to be agreed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from zosnet.ledger.encoding import U64, Bytes64, Malformed, Text, decode, encode, tagged
from zosnet.ledger.fields import Key
from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.signature import Signer, verify
from zosnet.model.errors import UsageError

__all__ = ["Introduction", "Membership", "address_of", "found", "introduce"]

OPERATOR_SCHEMA = "zosnet.ledger-operator/1"
MEMBERSHIP_SCHEMA = "zosnet.ledger-membership/1"

_ADDRESS = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})", re.ASCII)


def address_of(text: str) -> str:
    """HOST:PORT or [IPv6]:PORT, as it is typed. Raises UsageError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 65536:
        raise UsageError(f"{text!r} is no address", remedy="write it as host:26656 or [2001:db8::1]:26656")
    return text


@dataclass(frozen=True, slots=True)
class _Said:
    operator: Key
    node: Key
    address: Text
    time_ms: U64


@dataclass(frozen=True, slots=True)
class Introduction:
    """An operator's key, the key and address of its node, when it was said, and its signature of that."""

    operator: Key
    node: Key
    address: Text
    time_ms: U64
    signature: Bytes64

    def __post_init__(self) -> None:
        try:
            address_of(self.address)
        except UsageError as error:
            raise ValueError(error.message) from None
        if not verify(self.operator, _message(self), self.signature):
            raise ValueError("its signature is wrong")

    @property
    def document(self) -> dict[str, Any]:
        """For a file that people send each other: what they may read, and the bytes that count."""
        return {
            "operator": self.operator.hex(), "address": self.address,
            "introduction": encode(self).hex(), "schema": OPERATOR_SCHEMA,
        }  # fmt: skip

    @classmethod
    def parse(cls, document: Any) -> Introduction:
        """From such a file. Raises UsageError."""
        try:
            if document["schema"] != OPERATOR_SCHEMA:
                raise ValueError(f"it is of the kind {document['schema']!r}")
            made = decode(cls, bytes.fromhex(document["introduction"]))
            if (document["operator"], document["address"]) != (made.operator.hex(), made.address):
                raise ValueError("what people read in it is not what it says")
            return made
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise UsageError(
                f"that is no operator's introduction: {error}",
                remedy="ask the operator for the operator.json that `zosnet ledger init` wrote",
            ) from None


def _message(said: Introduction | _Said) -> bytes:
    body = encode(_Said(said.operator, said.node, said.address, said.time_ms))
    return tagged("operator introduction v1", body)


def introduce(operator: Signer, node: Signer, address: str, time_ms: int) -> Introduction:
    """An operator's word for itself."""
    said = _Said(operator.public, node.public, address_of(address), time_ms)
    signature = operator.sign(_message(said))
    return Introduction(said.operator, said.node, said.address, said.time_ms, signature)


@dataclass(frozen=True, slots=True)
class Membership:
    """A ledger's genesis, and where its operators' nodes are."""

    genesis: Genesis
    operators: tuple[Introduction, ...]

    @property
    def document(self) -> dict[str, Any]:
        """For a file of one's own."""
        return {
            "chain": self.genesis.chain.hex(), "genesis": encode(self.genesis).hex(),
            "operators": [each.document for each in self.operators], "schema": MEMBERSHIP_SCHEMA,
        }  # fmt: skip

    @classmethod
    def parse(cls, document: Any) -> Membership:
        """From such a file. Raises UsageError."""
        try:
            genesis = decode(Genesis, bytes.fromhex(document["genesis"]))
            operators = tuple(Introduction.parse(each) for each in document["operators"])
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise UsageError(f"that is no ledger's membership: {error}") from None
        return cls(genesis, operators)


def found(introductions: list[Introduction], label: str, parameters: Parameters) -> Membership:
    """The ledger of these operators, the same whoever makes it. It begins with the last introduction."""
    ordered = tuple(sorted(introductions, key=lambda each: each.operator))
    for what in ("operator", "node", "address"):
        values = [getattr(each, what) for each in ordered]
        if len(set(values)) < len(values):
            raise UsageError(f"two introductions are of the same {what}", remedy="name each operator once")
    if not ordered:
        raise UsageError("a ledger needs operators", remedy="name their operator.json files")
    begins = max(each.time_ms for each in ordered)
    try:
        genesis = Genesis(label, begins, tuple(each.operator for each in ordered), parameters)
        genesis.chain  # noqa: B018  # that it can be written
    except ValueError as error:
        raise UsageError(f"that can't be a ledger: {error}") from None
    return Membership(genesis, ordered)
