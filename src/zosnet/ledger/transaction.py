"""Operations, and the signed transaction that carries one.

Each write names the epoch of the record that it replaces, 0 where there must be none, so a late writer is
refused instead of undoing what came between. A transaction is good on one chain, in one place of its
account's order (`nonce`), under one generation of its keys (`key_epoch`), and until a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from zosnet.ledger.encoding import (
    U8,
    U16,
    U32,
    U64,
    Blob,
    Bytes32,
    Bytes64,
    Choice,
    Malformed,
    Many,
    Maybe,
    Ordered,
    Text,
    decode,
    digest,
    encode,
    tagged,
)  # fmt: skip
from zosnet.ledger.fields import AnyName, DomainName, Key, KeySet, Label, Signature, Signatures, TopName
from zosnet.ledger.signature import Signer

__all__ = [
    "LARGEST", "AcceptName", "Admission", "ClaimDomain", "ClusterBody", "CommitName", "Delegate",
    "DomainHost", "DropDomain", "GatewayBody", "NameHost", "NetworkBody", "OpenAccount", "Operation",
    "PutCluster",
    "PutGateway", "PutNetwork", "PutRevocations", "PutRoute", "ReleaseName", "RenewName", "RevealName",
    "RevocationsBody", "RotateKeys", "RouteBody", "SignedTransaction", "Stamp", "Transaction", "TransferName",
    "admission_message", "commitment", "consent_message", "sign", "stamp_value",
]  # fmt: skip

#: The longest transaction in bytes: the largest cluster there may be, and room. A guess.
LARGEST = 16_384


@dataclass(frozen=True, slots=True)
class Stamp:
    """Proof of work over chain, account and the hash of a recent block."""

    anchor: Bytes32
    counter: U64


@dataclass(frozen=True, slots=True)
class Admission:
    """The governors' word for an account, until a time."""

    expires_ms: U64
    signatures: Signatures


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Open the account that `keys` are the first of."""

    keys: KeySet
    admission: Annotated[Stamp | Admission, Choice({1: Stamp, 2: Admission})]


@dataclass(frozen=True, slots=True)
class RotateKeys:
    """Replace the account's keys; the old ones sign."""

    keys: KeySet


@dataclass(frozen=True, slots=True)
class CommitName:
    """Announce a name without naming it."""

    commitment: Bytes32


@dataclass(frozen=True, slots=True)
class RevealName:
    """Take the name that an earlier commit was for."""

    name: TopName
    salt: Bytes32


@dataclass(frozen=True, slots=True)
class RenewName:
    """A whole lease from now on."""

    name: TopName
    replaces: U64


@dataclass(frozen=True, slots=True)
class TransferName:
    """Offer the name to another account; None takes an offer back."""

    name: TopName
    replaces: U64
    to: Annotated[bytes | None, Maybe(Bytes32)]


@dataclass(frozen=True, slots=True)
class AcceptName:
    """Take a name that was offered."""

    name: TopName
    replaces: U64


@dataclass(frozen=True, slots=True)
class ReleaseName:
    """Give the name up."""

    name: TopName
    replaces: U64


@dataclass(frozen=True, slots=True)
class Delegate:
    """Put a sub-name, and those under it, in another account's hands; None takes it back."""

    name: AnyName
    replaces: U64
    to: Annotated[bytes | None, Maybe(Bytes32)]


@dataclass(frozen=True, slots=True)
class ClaimDomain:
    """Say that a domain of one's own belongs to this account. Nobody believes it unchecked."""

    domain: DomainName


@dataclass(frozen=True, slots=True)
class DropDomain:
    """Take a claim back, and its route with it."""

    domain: DomainName
    replaces: U64


@dataclass(frozen=True, slots=True)
class NameHost:
    """A route's host: a name or sub-name."""

    name: AnyName


@dataclass(frozen=True, slots=True)
class DomainHost:
    """A route's host: a domain that the sender claims."""

    domain: DomainName


@dataclass(frozen=True, slots=True)
class RouteBody:
    """Where visitors of a host go: a service in a ZNet, through the gateways of a cluster."""

    network: Bytes32
    service: Label
    port: U16
    protocol: U8  #: 0 HTTP, 1 TCP
    tls: U8  #: 0 ended at the gateway, 1 passed through, 2 none
    cluster: Bytes32

    def __post_init__(self) -> None:
        if self.protocol > 1 or self.tls > 2 or self.port == 0:
            raise ValueError("a route's protocol, TLS mode or port is none")


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Set, replace or (None) delete a route."""

    host: Annotated[NameHost | DomainHost, Choice({1: NameHost, 2: DomainHost})]
    replaces: U64
    route: Annotated[RouteBody | None, Maybe(RouteBody)]


@dataclass(frozen=True, slots=True)
class GatewayBody:
    """Where a gateway is reached."""

    endpoints: Annotated[tuple[str, ...], Many(Text, 16)]


@dataclass(frozen=True, slots=True)
class PutGateway:
    """Set, replace or delete one of the account's gateways, known by its key."""

    key: Key
    replaces: U64
    gateway: Annotated[GatewayBody | None, Maybe(GatewayBody)]


@dataclass(frozen=True, slots=True)
class ClusterBody:
    """Gateways that serve the same names, under these domains."""

    domains: Annotated[tuple[str, ...], Ordered(DomainName, 16)]
    members: Annotated[tuple[bytes, ...], Ordered(Key, 64)]


@dataclass(frozen=True, slots=True)
class PutCluster:
    """Set, replace or delete one of the account's clusters, known by its label."""

    label: Label
    replaces: U64
    cluster: Annotated[ClusterBody | None, Maybe(ClusterBody)]


@dataclass(frozen=True, slots=True)
class NetworkBody:
    """The newest manifest of a ZNet."""

    manifest: Bytes32
    version: U64


@dataclass(frozen=True, slots=True)
class PutNetwork:
    """Set, replace or delete a network, known by its key, which consents when it is new."""

    network: Key
    replaces: U64
    body: Annotated[NetworkBody | None, Maybe(NetworkBody)]
    consent: Annotated[bytes | None, Maybe(Bytes64)]


@dataclass(frozen=True, slots=True)
class RevocationsBody:
    """The hash of a network's newest list of revocations."""

    digest: Bytes32
    version: U64


@dataclass(frozen=True, slots=True)
class PutRevocations:
    """Set, replace or delete a network's revocation anchor."""

    network: Bytes32
    replaces: U64
    body: Annotated[RevocationsBody | None, Maybe(RevocationsBody)]


Operation = (
    OpenAccount | RotateKeys | CommitName | RevealName | RenewName | TransferName | AcceptName | ReleaseName
    | Delegate | ClaimDomain | DropDomain | PutRoute | PutGateway | PutCluster | PutNetwork | PutRevocations
)  # fmt: skip
OPERATIONS = Choice(
    {
        1: OpenAccount, 2: RotateKeys, 3: CommitName, 4: RevealName, 5: RenewName, 6: TransferName,
        7: AcceptName, 8: ReleaseName, 9: Delegate, 10: ClaimDomain, 11: DropDomain, 12: PutRoute,
        13: PutGateway, 14: PutCluster, 15: PutNetwork, 16: PutRevocations,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Transaction:
    """One operation of one account."""

    version: U8
    chain: Bytes32
    account: Bytes32
    key_epoch: U32
    nonce: U64
    expires_ms: U64
    operation: Annotated[Operation, OPERATIONS]

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(f"version {self.version} of transactions is unknown")


@dataclass(frozen=True, slots=True)
class _Envelope:
    body: Blob
    signatures: Signatures


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it arrived. Its id is that of what was signed, whoever of the set signed it."""

    transaction: Transaction
    body: bytes
    signatures: tuple[Signature, ...]
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> SignedTransaction:
        """Read the exact bytes of one. Raises Malformed."""
        if len(raw) > LARGEST:
            raise Malformed(f"a transaction has at most {LARGEST} bytes")
        envelope = decode(_Envelope, raw)
        return cls(decode(Transaction, envelope.body), envelope.body, envelope.signatures, raw)

    @property
    def id(self) -> bytes:
        """32 bytes."""
        return digest("transaction id v1", self.body)

    @property
    def copy(self) -> bytes:
        """32 bytes that tell these very bytes from another copy, with other signatures, of the same `id`."""
        return sha256(self.raw).digest()

    @property
    def message(self) -> bytes:
        """What is signed."""
        return signed_bytes(self.body)


def signed_bytes(body: bytes) -> bytes:
    """What the keys sign for a transaction of these bytes."""
    return tagged("transaction v1", body)


def sign(transaction: Transaction, signers: dict[int, Signer]) -> SignedTransaction:
    """Sign with the keys in these places of the account's set."""
    body = encode(transaction)
    signatures = tuple(Signature(index, signers[index].sign(signed_bytes(body))) for index in sorted(signers))
    return SignedTransaction(transaction, body, signatures, encode(_Envelope(body, signatures)))


def commitment(chain: bytes, account: bytes, name: str, salt: bytes) -> bytes:
    """What a commit announces: it hides the name behind 32 random bytes, of use to one account only."""
    return digest("name commitment v1", chain + account + salt + name.encode("ascii"))


def stamp_value(chain: bytes, account: bytes, stamp: Stamp) -> int:
    """The number that must be small: 256 bits minus the leading zero bits that are wanted."""
    return int.from_bytes(digest("stamp v1", chain + account + encode(stamp)))


def admission_message(chain: bytes, account: bytes, expires_ms: int) -> bytes:
    """What governors sign to admit an account."""
    return tagged("admission v1", chain + account + expires_ms.to_bytes(8))


def consent_message(chain: bytes, account: bytes, network: bytes) -> bytes:
    """What a network's key signs to be registered by an account."""
    return tagged("network consent v1", chain + account + network)
