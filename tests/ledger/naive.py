"""The rules once more, as naively as can be: plain dictionaries, everything swept at every block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.ledger.chain import Chain, TrustAll, genesis_of

from zosnet.ledger.fields import Signature
from zosnet.ledger.genesis import Parameters
from zosnet.ledger.records import (
    claim_key,
    cluster_id,
    cluster_key,
    delegation_key,
    domain_route_key,
    gateway_key,
    holdings_key,
    name_key,
    network_key,
    revocations_key,
    route_key,
)  # fmt: skip
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import (
    Operation,
    SignedTransaction,
    Transaction,
)  # fmt: skip
from zosnet.ledger.wallet import Wallet

TIGHT = Parameters(
    lease_ms=100_000, grace_ms=30_000, reveal_blocks=4, names=2, commits=2, children=2, objects=2,
    stamp_bits=0, transaction_life_ms=10**9, reserved=("www",),
)  # fmt: skip
NAMES = ["abc", "shop", "blog", "mail", "wiki", "game", "www"]
SUBS = ["a", "b", "x.a", "y.x.a"]
DOMAINS = ["one.example", "two.example", "three.example"]
KEYS = [Signer(bytes([90 + number]) * 32) for number in range(3)]
LABELS = ["eu", "us", "as"]
CALM, LEASE = 1000, 100_000
JUMPS = [1, LEASE // 3, LEASE, TIGHT.grace_ms, LEASE * 2]

Draw = Callable[[int], int]
"""A number below another."""

Expected = Callable[[int], None] | None
"""What an operation does to the model, given its epoch; None where it must be refused."""

Propose = Callable[["Twin", int, Draw], tuple[Operation, Expected]]


@dataclass
class Lease:
    holder: int
    expires: int
    epoch: int
    offered: int | None = None


@dataclass
class Model:
    """What the ledger should say. Accounts are numbers, time is given."""

    now: int = 0
    height: int = 0
    names: dict[str, Lease] = field(default_factory=dict)
    commits: list[tuple[int, str, int, int]] = field(default_factory=list)  # who, name, salt, height
    delegations: dict[str, tuple[int, int]] = field(default_factory=dict)  # to, epoch
    routes: dict[str, tuple[int, int]] = field(default_factory=dict)  # port, epoch
    claims: dict[tuple[int, str], int] = field(default_factory=dict)
    domain_routes: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    gateways: dict[tuple[int, int], int] = field(default_factory=dict)
    clusters: dict[tuple[int, str], int] = field(default_factory=dict)
    networks: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # owner, version, epoch
    revocations: dict[int, tuple[int, int]] = field(default_factory=dict)  # version, epoch

    def sweep(self, now: int, height: int) -> None:
        self.now, self.height = now, height
        for name, lease in list(self.names.items()):
            if now >= lease.expires + TIGHT.grace_ms:
                self.remove(name)
        self.commits = [each for each in self.commits if height - each[3] <= TIGHT.reveal_blocks]

    def remove(self, name: str) -> None:
        del self.names[name]
        for table in (self.routes, self.delegations):
            for each in [host for host in table if host == name or host.endswith("." + name)]:
                del table[each]

    def live(self, name: str) -> Lease | None:
        lease = self.names.get(name)
        return lease if lease and self.now < lease.expires else None

    def authority(self, host: str) -> int | None:
        labels = host.split(".")
        lease = self.live(labels[-1])
        for start in range(len(labels) - 1):
            if (found := self.delegations.get(".".join(labels[start:]))) is not None:
                return found[0]
        return lease.holder if lease else None

    def nearest(self, host: str) -> str | None:
        labels = host.split(".")
        return next(
            (each for n in range(len(labels) - 1) if (each := ".".join(labels[n:])) in self.delegations), None
        )

    def children(self, top: str) -> set[str]:
        return {h for h in [*self.routes, *self.delegations] if h.endswith("." + top)}

    def held_by(self, who: int) -> int:
        return sum(lease.holder == who for lease in self.names.values())


class Twin:
    """Machine and model side by side, fed with the same operations."""

    def __init__(self, accounts: int = 4) -> None:
        self.chain = Chain(genesis_of(TIGHT), TrustAll())
        self.model = Model()
        self.wallets: list[Wallet] = [self.chain.wallet(number) for number in range(1, accounts + 1)]
        self.ids = [wallet.account for wallet in self.wallets]
        self.highest: dict[bytes, int] = {}
        self.done = self.refused = 0
        self.chain.begin(CALM)
        self._swept()

    def _swept(self) -> None:
        self.model.sweep(self.chain.now, self.chain.height)

    def next_block(self, after_ms: int) -> None:
        self._watch(self.chain.end())
        self.chain.begin(after_ms)
        self._swept()

    def _watch(self, changes: dict[bytes, bytes | None]) -> None:
        """Epochs only rise, whatever was deleted between."""
        for key, raw in changes.items():
            if raw is not None and key[0] >= 5:
                epoch = int.from_bytes(raw[:8])
                assert epoch >= self.highest.get(key, 0), key
                self.highest[key] = epoch

    def step(self, draw: Draw, propose: Propose) -> None:
        """Perhaps a new block; then one operation, on both sides."""
        if draw(5) == 0:
            jump = draw(100)
            self.next_block(JUMPS[jump] if jump < len(JUMPS) else CALM)
        who = draw(len(self.wallets))
        operation, expected = propose(self, who, draw)
        epoch = self._apply(who, operation)
        before = self.done
        self.done += epoch is not None
        self.refused += epoch is None
        assert (epoch is not None) == (expected is not None), (operation, self.chain.now)
        if expected is not None and self.done > before:
            expected(epoch or 0)

    def _apply(self, who: int, operation: Operation) -> int | None:
        wallet = self.wallets[who]
        transaction = Transaction(
            1, wallet.chain, wallet.account, 0, wallet.nonce + 1, self.chain.now + CALM, operation
        )
        result = self.chain.machine.apply(
            SignedTransaction(transaction, b"", (Signature(0, bytes(64)),), b"")
        )
        if not result.is_done:
            return None
        wallet.done()
        return result.epoch

    def compare(self) -> None:
        """Everything that anybody can ask for."""
        read, model, ids = self.chain.machine.read, self.model, self.ids
        for top in NAMES:
            record, lease = read(name_key(top)), model.names.get(top)
            if record is not None and not record.is_served(self.chain.now, TIGHT):
                assert lease is None
                continue  # lapsed and not touched: what hangs on it is as dead as itself
            assert (record is None) == (lease is None), top
            if record and lease:
                offered = None if lease.offered is None else ids[lease.offered]
                assert (record.epoch, record.holder, record.expires_ms, record.offered_to) == (
                    lease.epoch, ids[lease.holder], lease.expires, offered,
                )  # fmt: skip
                assert set(record.children) == model.children(top)
            for host in [top, *(f"{sub}.{top}" for sub in SUBS)]:
                route, given = read(route_key(host)), read(delegation_key(host))
                assert (route and (route.route.port, route.epoch)) == model.routes.get(host)
                assert (given and (ids.index(given.to), given.epoch)) == model.delegations.get(host)
        for who, account in enumerate(ids):
            self._compare_account(who, account)
        for number, signer in enumerate(KEYS):
            network, anchor = read(network_key(signer.public)), read(revocations_key(signer.public))
            assert (network and (ids.index(network.owner), network.body.version, network.epoch)) == (
                model.networks.get(number)
            )
            assert (anchor and (anchor.body.version, anchor.epoch)) == model.revocations.get(number)

    def _compare_account(self, who: int, account: bytes) -> None:
        read, model = self.chain.machine.read, self.model
        for domain in DOMAINS:
            claim, route = read(claim_key(account, domain)), read(domain_route_key(account, domain))
            assert (claim and claim.epoch) == model.claims.get((who, domain))
            assert (route and (route.route.port, route.epoch)) == model.domain_routes.get((who, domain))
        for number, signer in enumerate(KEYS):
            gateway = read(gateway_key(account, signer.public))
            assert (gateway and gateway.epoch) == model.gateways.get((who, number))
        for label in LABELS:
            cluster = read(cluster_key(cluster_id(account, label)))
            assert (cluster and cluster.epoch) == model.clusters.get((who, label))
        holdings = read(holdings_key(account))
        names = holdings.names if holdings else ()
        assert len(names) <= TIGHT.names and len(set(names)) == len(names)
        assert all(read(name_key(name)).holder == account for name in names)
        assert {name for name, lease in model.names.items() if lease.holder == who} <= set(names)
        assert model.held_by(who) <= TIGHT.names
