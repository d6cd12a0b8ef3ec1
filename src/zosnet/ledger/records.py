"""What is under the Merkle root: the records, and the keys that they are found by.

A key is one byte of kind and what identifies the record. Whatever a later transition depends on is a record;
height, block time and indexes for people are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from zosnet.ledger.encoding import U16, U32, U64, Bytes32, Many, Maybe, Ordered, Text, digest
from zosnet.ledger.fields import KeySet
from zosnet.ledger.genesis import Parameters
from zosnet.ledger.transaction import ClusterBody, GatewayBody, NetworkBody, RevocationsBody, RouteBody

__all__ = [
    "ANCHORS", "COUNTER", "AccountRecord", "AnchorsRecord", "ClaimRecord", "ClusterRecord", "Commit",
    "CommitsRecord", "CounterRecord", "DelegationRecord", "GatewayRecord", "HoldingsRecord", "NameRecord",
    "NetworkRecord", "Record", "RevocationsRecord", "RouteRecord", "account_key", "by_length", "claim_key",
    "cluster_id", "cluster_key", "commits_key", "delegation_key", "domain_route_key", "gateway_key",
    "holdings_key", "kind_of", "name_key", "network_key", "revocations_key", "route_key",
]  # fmt: skip

MOST = 65_535


def by_length(text: str) -> tuple[int, str]:
    """The order in which an `Ordered` set of texts is written."""
    return len(text), text


@dataclass(frozen=True, slots=True)
class CounterRecord:
    """The last epoch that was given out. It outlives every record, so that epochs only rise."""

    last: U64


@dataclass(frozen=True, slots=True)
class AnchorsRecord:
    """Hashes of recent blocks that a stamp may name, the newest last, and when it was taken."""

    taken_ms: U64
    hashes: Annotated[tuple[bytes, ...], Many(Bytes32, 16)]


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account: its present keys, and the number of its last transaction."""

    epoch: U64
    keys: KeySet
    key_epoch: U32
    nonce: U64


@dataclass(frozen=True, slots=True)
class HoldingsRecord:
    """What counts against an account's quotas: its names, and how many of the rest."""

    names: Annotated[tuple[str, ...], Ordered(Text, MOST)] = ()
    claims: U16 = 0
    gateways: U16 = 0
    clusters: U16 = 0
    networks: U16 = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commitment, and the block that it came in."""

    commitment: Bytes32
    height: U64


@dataclass(frozen=True, slots=True)
class CommitsRecord:
    """An account's open commits, the oldest first. Expired ones go when the record is next written."""

    commits: Annotated[tuple[Commit, ...], Many(Commit, MOST)]


@dataclass(frozen=True, slots=True)
class NameRecord:
    """A lease. `children`: the sub-names that have a delegation or a route, which go when the name does."""

    epoch: U64
    holder: Bytes32
    expires_ms: U64
    offered_to: Annotated[bytes | None, Maybe(Bytes32)] = None
    children: Annotated[tuple[str, ...], Ordered(Text, MOST)] = ()

    def is_live(self, now_ms: int) -> bool:
        """Whether the lease runs."""
        return now_ms < self.expires_ms

    def is_served(self, now_ms: int, parameters: Parameters) -> bool:
        """Whether it runs, or its grace does: in the grace it is served, and can only be renewed."""
        return now_ms < self.expires_ms + parameters.grace_ms


@dataclass(frozen=True, slots=True)
class DelegationRecord:
    """Who decides on a sub-name and those under it."""

    epoch: U64
    to: Bytes32


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """An account's unverified word that a domain is its own."""

    epoch: U64


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """Where a host's visitors go."""

    epoch: U64
    route: RouteBody


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """An account's gateway."""

    epoch: U64
    gateway: GatewayBody


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """An account's cluster."""

    epoch: U64
    owner: Bytes32
    cluster: ClusterBody


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A ZNet and its newest manifest."""

    epoch: U64
    owner: Bytes32
    body: NetworkBody


@dataclass(frozen=True, slots=True)
class RevocationsRecord:
    """A ZNet's newest list of revocations."""

    epoch: U64
    body: RevocationsBody


Record = (
    CounterRecord | AnchorsRecord | AccountRecord | HoldingsRecord | CommitsRecord | NameRecord
    | DelegationRecord | ClaimRecord | RouteRecord | GatewayRecord | ClusterRecord | NetworkRecord
    | RevocationsRecord
)  # fmt: skip

COUNTER, ANCHORS = b"\x00counter", b"\x01anchors"
_KINDS: dict[int, type[Any]] = {
    0: CounterRecord, 1: AnchorsRecord, 2: AccountRecord, 3: HoldingsRecord, 4: CommitsRecord, 5: NameRecord,
    6: DelegationRecord, 7: ClaimRecord, 8: RouteRecord, 9: RouteRecord, 10: GatewayRecord, 11: ClusterRecord,
    12: NetworkRecord, 13: RevocationsRecord,
}  # fmt: skip


def kind_of(key: bytes) -> type[Any]:
    """The type of the record at `key`. Raises KeyError for a key that is none."""
    return _KINDS[key[0] if key else -1]


def account_key(account: bytes) -> bytes:
    """→ AccountRecord"""
    return b"\x02" + account


def holdings_key(account: bytes) -> bytes:
    """→ HoldingsRecord"""
    return b"\x03" + account


def commits_key(account: bytes) -> bytes:
    """→ CommitsRecord"""
    return b"\x04" + account


def name_key(name: str) -> bytes:
    """→ NameRecord, of a leased label."""
    return b"\x05" + name.encode("ascii")


def delegation_key(name: str) -> bytes:
    """→ DelegationRecord, of a sub-name."""
    return b"\x06" + name.encode("ascii")


def claim_key(account: bytes, domain: str) -> bytes:
    """→ ClaimRecord"""
    return b"\x07" + account + domain.encode("ascii")


def route_key(name: str) -> bytes:
    """→ RouteRecord, of a name or sub-name."""
    return b"\x08" + name.encode("ascii")


def domain_route_key(account: bytes, domain: str) -> bytes:
    """→ RouteRecord, of a claimed domain."""
    return b"\x09" + account + domain.encode("ascii")


def gateway_key(account: bytes, key: bytes) -> bytes:
    """→ GatewayRecord. By account and key, so that nobody can take another's key away from it."""
    return b"\x0a" + account + key


def cluster_id(account: bytes, label: str) -> bytes:
    """What routes call a cluster."""
    return digest("cluster v1", account + label.encode("ascii"))


def cluster_key(identity: bytes) -> bytes:
    """→ ClusterRecord"""
    return b"\x0b" + identity


def network_key(network: bytes) -> bytes:
    """→ NetworkRecord"""
    return b"\x0c" + network


def revocations_key(network: bytes) -> bytes:
    """→ RevocationsRecord"""
    return b"\x0d" + network
