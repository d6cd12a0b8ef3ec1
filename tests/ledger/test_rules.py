"""The rules, case by case: what is refused and why, who wins, what goes with what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.ledger.chain import START, Chain, genesis_of

from zosnet.ledger.encoding import Malformed, encode
from zosnet.ledger.fields import KeySet, Signature
from zosnet.ledger.genesis import Genesis, Parameters, Switch
from zosnet.ledger.records import (
    account_key,
    cluster_id,
    commits_key,
    delegation_key,
    holdings_key,
    name_key,
    route_key,
)  # fmt: skip
from zosnet.ledger.rules import RULES
from zosnet.ledger.rules.step import Refused, Step
from zosnet.ledger.signature import ORDER, Signer
from zosnet.ledger.state import Block, UnknownRules
from zosnet.ledger.transaction import (
    AcceptName,
    ClaimDomain,
    ClusterBody,
    CommitName,
    Delegate,
    NameHost,
    NetworkBody,
    OpenAccount,
    PutCluster,
    PutNetwork,
    PutRoute,
    ReleaseName,
    RenewName,
    RevealName,
    RotateKeys,
    RouteBody,
    SignedTransaction,
    Stamp,
    Transaction,
    TransferName,
    commitment,
    sign,
    stamp_value,
)  # fmt: skip
from zosnet.ledger.wallet import Wallet, admit, consent, key_set

SALT = bytes(32)
LEASE, GRACE = Parameters().lease_ms, Parameters().grace_ms


def announce(wallet: Wallet, name: str, salt: bytes = SALT) -> CommitName:
    return CommitName(commitment(wallet.chain, wallet.account, name, salt))


def route(chain: Chain, wallet: Wallet) -> RouteBody:
    """A route through a cluster of the wallet's, which is made."""
    identity = cluster_id(wallet.account, "eu")
    if chain.machine.read(b"\x0b" + identity) is None:
        chain.ok(wallet, PutCluster("eu", 0, ClusterBody((), ())))
    return RouteBody(bytes(32), "web", 80, 0, 0, identity)


def test_commit_and_reveal() -> None:
    chain = Chain()
    a = chain.wallet(1)
    assert chain.no(a, RevealName("shop", SALT)) == "commit"
    chain.ok(a, announce(a, "shop"))
    assert chain.no(a, RevealName("shop", bytes([1]) * 32)) == "commit"
    assert chain.no(a, RevealName("blog", SALT)) == "commit"
    epoch = chain.ok(a, RevealName("shop", SALT))
    record = chain.machine.read(name_key("shop"))
    assert (record.epoch, record.holder, record.expires_ms) == (epoch, a.account, chain.now + LEASE)
    assert chain.machine.read(commits_key(a.account)) is None


def test_a_reveal_in_the_block_of_its_commit_is_too_early() -> None:
    chain = Chain()
    a = chain.wallet(1)
    chain.begin(1000)
    assert chain.machine.apply(a.transaction(announce(a, "shop"), chain.now)).is_done
    a.done()
    assert chain.machine.apply(a.transaction(RevealName("shop", SALT), chain.now)).reason == "early"
    chain.end()
    chain.ok(a, RevealName("shop", SALT))


def test_a_commit_is_of_no_use_to_another_account() -> None:
    chain = Chain()
    a, b = chain.wallet(1), chain.wallet(2)
    chain.ok(b, announce(a, "shop"))
    assert chain.no(b, RevealName("shop", SALT)) == "commit"


@pytest.mark.parametrize(("blocks", "good"), [(1, True), (5, True), (6, False)])
def test_a_reveal_has_so_many_blocks(blocks: int, good: bool) -> None:
    chain = Chain(genesis_of(reveal_blocks=5))
    a = chain.wallet(1)
    chain.ok(a, announce(a, "shop"))
    for _ in range(blocks - 1):
        chain.block()
    assert chain.do(a, RevealName("shop", SALT)).is_done is good


def test_the_first_reveal_wins_whoever_committed_first() -> None:
    chain = Chain()
    a, b = chain.wallet(1), chain.wallet(2)
    chain.ok(a, announce(a, "shop"))
    chain.ok(b, announce(b, "shop"))
    first, second = (each.transaction(RevealName("shop", SALT), chain.now) for each in (b, a))
    assert [result.reason for result in chain.block([first, second])] == ["", "held"]
    assert chain.machine.read(name_key("shop")).holder == b.account


def test_quotas_of_commits_and_names_and_how_they_come_free() -> None:
    chain = Chain(genesis_of(commits=2, names=2, reveal_blocks=3))
    a = chain.wallet(1)
    chain.ok(a, announce(a, "abc"))
    chain.ok(a, announce(a, "abd"))
    assert chain.no(a, announce(a, "abd")) == "same"
    assert chain.no(a, announce(a, "abe")) == "quota"
    chain.block()
    chain.ok(a, announce(a, "abe"))  # the first two have expired, the record forgets them
    assert len(chain.machine.read(commits_key(a.account)).commits) <= 2
    chain.reserve(a, "one")
    chain.reserve(a, "two")
    chain.ok(a, announce(a, "three"))
    assert chain.no(a, RevealName("three", SALT)) == "quota"
    assert chain.machine.read(holdings_key(a.account)).names == ("one", "two")
    chain.block(after_ms=LEASE + GRACE)  # both lapse, and nobody touches them
    chain.reserve(a, "four")
    assert chain.machine.read(holdings_key(a.account)).names == ("four",)
    assert chain.machine.read(name_key("one")) is None


def test_the_grace_allows_renewal_and_nothing_else() -> None:
    chain = Chain()
    a, b = chain.wallet(1), chain.wallet(2)
    body = route(chain, a)
    epoch = chain.reserve(a, "shop")
    kept = chain.ok(a, PutRoute(NameHost("shop"), 0, body))
    chain.block(after_ms=LEASE)
    record = chain.machine.read(name_key("shop"))
    assert record.is_served(chain.now, chain.genesis.parameters) and not record.is_live(chain.now)
    for operation in (
        TransferName("shop", epoch, b.account), ReleaseName("shop", epoch), Delegate("a.shop", 0, b.account),
        PutRoute(NameHost("shop"), kept, None), PutRoute(NameHost("b.shop"), 0, body),
    ):  # fmt: skip
        assert chain.no(a, operation) == "grace"
    assert chain.no(b, RenewName("shop", epoch)) == "holder"
    chain.ok(b, announce(b, "shop"))
    assert chain.no(b, RevealName("shop", SALT)) == "held"
    chain.ok(a, RenewName("shop", epoch))
    assert chain.machine.read(route_key("shop")).epoch == kept
    chain.block(after_ms=LEASE + GRACE)
    assert chain.no(a, RenewName("shop", epoch)) == "free"
    later = chain.reserve(b, "shop")
    assert later > epoch and chain.machine.read(route_key("shop")) is None


def test_transfer_needs_acceptance_and_takes_everything_away() -> None:
    chain = Chain()
    a, b, c = chain.wallet(1), chain.wallet(2), chain.wallet(3)
    body = route(chain, a)
    epoch = chain.reserve(a, "shop")
    expires = chain.machine.read(name_key("shop")).expires_ms
    for host in ("shop", "x.shop", "y.x.shop"):
        chain.ok(a, PutRoute(NameHost(host), 0, body))
    chain.ok(a, Delegate("z.shop", 0, c.account))
    assert chain.no(a, TransferName("shop", epoch, bytes(32))) == "account"
    assert chain.no(a, TransferName("shop", epoch, a.account)) == "same"
    assert chain.no(b, AcceptName("shop", epoch)) == "offer"
    offered = chain.ok(a, TransferName("shop", epoch, b.account))
    assert chain.no(c, AcceptName("shop", offered)) == "offer"
    assert chain.no(b, AcceptName("shop", epoch)) == "epoch"
    withdrawn = chain.ok(a, TransferName("shop", offered, None))
    assert chain.no(b, AcceptName("shop", withdrawn)) == "offer"
    offered = chain.ok(a, TransferName("shop", withdrawn, b.account))
    chain.ok(b, AcceptName("shop", offered))
    record = chain.machine.read(name_key("shop"))
    assert (record.holder, record.expires_ms, record.children) == (b.account, expires, ())
    gone = [route_key(host) for host in ("shop", "x.shop", "y.x.shop")] + [delegation_key("z.shop")]
    assert [chain.machine.read(key) for key in gone] == [None] * 4
    assert chain.machine.read(holdings_key(a.account)).names == ()
    assert chain.machine.read(holdings_key(b.account)).names == ("shop",)


def test_delegation_is_the_nearest_one() -> None:
    chain = Chain()
    a, b, c = chain.wallet(1), chain.wallet(2), chain.wallet(3)
    body = route(chain, a)
    chain.reserve(a, "shop")
    mine = chain.ok(a, PutRoute(NameHost("y.eu.shop"), 0, body))
    given = chain.ok(a, Delegate("eu.shop", 0, b.account))
    assert chain.machine.read(route_key("y.eu.shop")) is None and mine
    assert chain.no(a, PutRoute(NameHost("y.eu.shop"), 0, body)) == "authority"
    chain.ok(b, PutRoute(NameHost("y.eu.shop"), 0, body))
    chain.ok(a, Delegate("y.eu.shop", 0, c.account))
    kept = chain.ok(c, PutRoute(NameHost("y.eu.shop"), 0, body))
    chain.ok(b, PutRoute(NameHost("eu.shop"), 0, body))
    assert chain.no(b, PutRoute(NameHost("y.eu.shop"), kept, None)) == "authority"
    assert chain.no(b, Delegate("z.eu.shop", 0, c.account)) == "holder"
    chain.ok(a, Delegate("eu.shop", given, None))  # what a nearer delegation covers stays
    assert chain.machine.read(route_key("eu.shop")) is None
    assert chain.machine.read(route_key("y.eu.shop")).epoch == kept
    assert chain.no(a, Delegate("shop", 0, b.account)) == "sub-name"
    assert chain.no(a, Delegate("q.shop", 0, None)) == "absent"


def test_each_write_names_what_it_replaces() -> None:
    chain = Chain()
    a = chain.wallet(1)
    body = route(chain, a)
    epoch = chain.reserve(a, "shop")
    first = chain.ok(a, PutRoute(NameHost("shop"), 0, body))
    assert chain.no(a, PutRoute(NameHost("shop"), 0, body)) == "epoch"
    second = chain.ok(a, PutRoute(NameHost("shop"), first, replace(body, port=81)))
    assert chain.no(a, PutRoute(NameHost("shop"), first, None)) == "epoch"
    chain.ok(a, PutRoute(NameHost("shop"), second, None))
    third = chain.ok(a, PutRoute(NameHost("shop"), 0, body))
    assert epoch < first < second < third
    assert chain.no(a, PutRoute(NameHost("shop"), third, replace(body, cluster=bytes(32)))) == "cluster"


def test_what_a_transaction_must_pass() -> None:
    chain, other = Chain(), Chain(Genesis("other", START, genesis_of().operators, genesis_of().parameters))
    a, stranger = chain.wallet(1), other.wallet(1)
    assert a.account == stranger.account and a.chain != stranger.chain
    operation = ClaimDomain("shop.example")
    good = a.transaction(operation, chain.now)

    def judged(changed: SignedTransaction) -> str:
        return chain.block([changed])[0].reason

    assert judged(stranger.transaction(operation, chain.now)) == "chain"
    a.nonce += 1
    assert judged(a.transaction(operation, chain.now)) == "nonce"
    a.nonce -= 1
    assert judged(a.transaction(operation, chain.now - 200_000)) == "expired"
    long = replace(good.transaction, expires_ms=chain.now + 10**8)
    assert judged(sign(long, {0: Signer(bytes([1, 0]) * 16)})) == "life"
    assert judged(replace(good, signatures=())) == "signature"
    (signature,) = good.signatures
    s = int.from_bytes(signature.raw[32:], "little") + ORDER
    bent = Signature(0, signature.raw[:32] + s.to_bytes(32, "little"))
    assert judged(replace(good, signatures=(bent,))) == "signature"
    assert judged(replace(good, signatures=(replace(signature, index=1),))) == "signature"
    a.key_epoch += 1
    assert judged(a.transaction(operation, chain.now)) == "key-epoch"
    unknown = Wallet(chain.genesis, [Signer(bytes([77]) * 32)])
    assert judged(unknown.transaction(operation, chain.now)) == "account"
    assert chain.block([good, good])[0].is_done
    assert judged(good) == "nonce"


def test_k_of_n_and_rotation() -> None:
    chain = Chain()
    a = chain.wallet(1, threshold=2, keys=3)
    early = a.transaction(ClaimDomain("a.example"), chain.now)
    one = replace(early, signatures=early.signatures[:1])
    twice = replace(early, signatures=(early.signatures[0], early.signatures[0]))
    assert [each.reason for each in chain.block([one, twice])] == ["signature"] * 2
    new = [Signer(bytes([9, 9]) * 16)]
    chain.ok(a, RotateKeys(key_set(new, 1)[0]))
    assert chain.block([early])[0].reason == "key-epoch"  # what the old keys signed is void
    a.rotated(new, 1)
    chain.ok(a, ClaimDomain("a.example"))
    record = chain.machine.read(account_key(a.account))
    assert (record.key_epoch, record.keys.threshold) == (1, 1)
    assert chain.no(a, RotateKeys(a.keys)) == "same"


def test_an_account_costs_work() -> None:
    chain = Chain(genesis_of(stamp_bits=6))
    wallet = Wallet(chain.genesis, [Signer(bytes([5]) * 32)])
    chain.block()
    good = chain.stamp(wallet)
    poor = next(
        stamp
        for stamp in (Stamp(good.anchor, number) for number in range(1000))
        if stamp_value(wallet.chain, wallet.account, stamp) >> 250
    )
    assert chain.no(wallet, wallet.opening(poor)) == "stamp"
    assert chain.no(wallet, wallet.opening(replace(good, anchor=bytes(32)))) == "stamp"
    other = Wallet(chain.genesis, [Signer(bytes([6]) * 32)])
    assert chain.no(wallet, other.opening(good)) == "signature"
    other.account = wallet.account
    assert chain.no(other, other.opening(good)) == "account"
    chain.ok(wallet, wallet.opening(good))
    assert chain.no(wallet, wallet.opening(good)) == "open"


def test_a_stamp_is_good_for_sixteen_anchors() -> None:
    chain = Chain()
    wallet = Wallet(chain.genesis, [Signer(bytes([5]) * 32)])
    stamp = chain.stamp(wallet)
    for _ in range(17):
        chain.block(after_ms=60_000)
    assert chain.no(wallet, wallet.opening(stamp)) == "stamp"


def test_governors_admit_without_work() -> None:
    keys, signers = key_set([Signer(bytes([60 + n]) * 32) for n in range(3)], 2)
    chain = Chain(genesis_of(stamp_bits=255, governors=keys))
    wallet = Wallet(chain.genesis, [Signer(bytes([5]) * 32)])
    late = admit(wallet.chain, wallet.account, chain.now - 1, signers)
    assert chain.no(wallet, wallet.opening(late)) == "admission"
    good = admit(wallet.chain, wallet.account, chain.now + 100_000, signers)
    assert chain.no(wallet, wallet.opening(replace(good, signatures=good.signatures[:1]))) == "admission"
    assert chain.no(wallet, wallet.opening(replace(good, expires_ms=good.expires_ms + 1))) == "admission"
    chain.ok(wallet, wallet.opening(good))
    alone = Chain()
    stranger = Wallet(alone.genesis, [Signer(bytes([5]) * 32)])
    assert alone.no(stranger, stranger.opening(good)) == "admission"


def test_a_network_is_registered_by_whom_its_key_says() -> None:
    chain = Chain()
    a, b = chain.wallet(1), chain.wallet(2)
    key = Signer(bytes([50]) * 32)
    body = NetworkBody(bytes(32), 1)
    word = consent(chain.genesis.chain, a.account, key)
    assert chain.no(b, PutNetwork(key.public, 0, body, word)) == "consent"
    epoch = chain.ok(a, PutNetwork(key.public, 0, body, word))
    assert chain.no(a, PutNetwork(key.public, epoch, body, None)) == "version"
    assert chain.no(b, PutNetwork(key.public, epoch, replace(body, version=2), None)) == "holder"


def test_reserved_names_are_nobodys() -> None:
    chain = Chain(genesis_of(reserved=("www",)))
    a = chain.wallet(1)
    chain.ok(a, announce(a, "www"))
    assert chain.no(a, RevealName("www", SALT)) == "reserved"


def test_rules_switch_at_a_height() -> None:
    def never(_: Step, __: CommitName) -> None:
        raise Refused("closed", "no more names")

    second = {**RULES[1], CommitName: never}
    genesis = genesis_of(schedule=(Switch(1, 1), Switch(4, 2)))
    chain = Chain(genesis, rules={**RULES, 2: second})
    a = chain.wallet(1)
    chain.ok(a, announce(a, "abc"))
    assert chain.height == 2
    chain.ok(a, announce(a, "abd"))
    assert chain.no(a, announce(a, "abe")) == "closed"
    old = Chain(genesis)
    for _ in range(3):
        old.block()
    with pytest.raises(UnknownRules):
        old.machine.begin(Block(4, old.now + 1, bytes(32)))


@pytest.mark.parametrize(
    "name", ["Shop", "shop.", "shöp", "a" * 64, "sh", "ab--c", "-ab", "a.shop", "shop\x00", "sh op"]
)
def test_a_transaction_with_a_name_that_is_none_is_no_transaction(name: str) -> None:
    chain = Chain()
    good = encode(Transaction(1, chain.genesis.chain, bytes(32), 0, 1, 1, RevealName("shop", SALT)))
    raw = good.replace(b"\x00\x04shop", len(name.encode()).to_bytes(2) + name.encode())
    body = len(raw).to_bytes(2) + raw + b"\x00\x00"
    with pytest.raises(Malformed):
        SignedTransaction.parse(body)
    with pytest.raises(ValueError):
        encode(RevealName(name, SALT))


def test_a_signed_transaction_survives_and_nothing_else_does() -> None:
    chain = Chain()
    a = chain.wallet(1)
    signed = a.transaction(announce(a, "shop"), chain.now)
    assert SignedTransaction.parse(signed.raw) == signed and len(signed.id) == 32
    for wrong in (b"", signed.raw[:-1], signed.raw + b"\x00", bytes(20_000)):
        with pytest.raises(Malformed):
            SignedTransaction.parse(wrong)
    with pytest.raises(Malformed):
        SignedTransaction.parse(signed.raw.replace(signed.body[:1], b"\x02", 1))


def test_a_key_set_is_one_that_can_sign() -> None:
    key = Signer(bytes(32)).public
    with pytest.raises(ValueError):
        KeySet(2, (key,))
    with pytest.raises(ValueError):
        KeySet(0, (key,))
    chain = Chain()
    opening = OpenAccount(KeySet(1, (key,)), Stamp(bytes(32), 0))
    raw = encode(Transaction(1, chain.genesis.chain, bytes(32), 0, 1, 1, opening))
    small = raw.replace(key, bytes(32))
    with pytest.raises(Malformed):
        SignedTransaction.parse(len(small).to_bytes(2) + small + b"\x00\x00")
