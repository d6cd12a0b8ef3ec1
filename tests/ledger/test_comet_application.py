"""The application behind ABCI, without CometBFT: what may wait, what is proposed, what a block does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.ledger.chain import OPERATOR, START, genesis_of
from tests.ledger.test_embedded import Clock, blocks_of, opened, running
from tests.ledger.test_vectors import FILE

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import MOST_IN_BLOCK, pack
from zosnet.ledger.comet.signed import chain_name
from zosnet.ledger.encoding import decode
from zosnet.ledger.engine.cometbft import application as module
from zosnet.ledger.engine.cometbft.application import Application, Done
from zosnet.ledger.engine.cometbft.mempool import HURRIED_MS, PATIENT
from zosnet.ledger.engine.database import KEPT_ROOTS, Database, Snapshot
from zosnet.ledger.genesis import Genesis, Switch
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.records import ClaimRecord, account_key, claim_key
from zosnet.ledger.signature import Signer
from zosnet.ledger.state import Result
from zosnet.ledger.transaction import ClaimDomain, Operation, RotateKeys, SignedTransaction, Stamp
from zosnet.ledger.tree import prove, verify
from zosnet.ledger.wallet import Wallet, key_set
from zosnet.model.errors import HostError


class Driver:
    """CometBFT's part, in order: proposals, votes, blocks."""

    def __init__(self, directory: Path, genesis: Genesis | None = None) -> None:
        self.genesis = genesis or genesis_of()
        self.directory = directory
        self.now = START
        self.done: list[Done] = []
        self.refused: list[tuple[bytes, str]] = []
        self.open()

    def open(self) -> Application:
        self.database = Database(self.directory / "ledger.sqlite")
        self.application = Application(
            self.genesis,
            self.database,
            chain_name=chain_name(self.genesis),
            clock=lambda: self.now,
            on_done=self.done.append,
            on_refused=lambda signed, result: self.refused.append((signed.copy, result.reason)),
        )
        return self.application

    @property
    def time(self) -> abci.Time:
        return abci.Time(self.now // 1000, self.now % 1000 * 1_000_000)

    @property
    def height(self) -> int:
        return self.application.kept.height + 1

    def check(self, *signed: SignedTransaction, kind: int = 0, awaited: bool = False) -> abci.CheckedTx:
        envelope = pack((each.raw for each in signed), awaited=awaited)
        return self.application.mempool.check(abci.CheckTx(envelope, kind))

    def prepare(self, *envelopes: bytes, room: int = 1 << 20) -> tuple[bytes, ...]:
        request = abci.PrepareProposal(room, envelopes, self.height, self.time)
        return self.application.prepare(request).txs

    def is_accepted(self, *txs: bytes) -> bool:
        request = abci.ProcessProposal(txs, b"h" * 32, self.height, self.time)
        return self.application.process(request).status == abci.ACCEPT

    def finalize(self, *txs: bytes, name: bytes = b"h" * 32) -> abci.FinalizedBlock:
        return self.application.finalize(abci.FinalizeBlock(txs, (), name, self.height, self.time))

    def block(self, *txs: bytes) -> bytes:
        """One more block; its root."""
        root = self.finalize(*txs).app_hash
        self.application.commit()
        self.now += 1000
        return root

    def wallet(self, number: int) -> Wallet:
        wallet = Wallet(self.genesis, [Signer(bytes([number]) * 32)])
        self.block(self.sign(wallet, wallet.opening(Stamp(wallet.chain, 0))).raw)
        wallet.done()
        return wallet

    def sign(self, wallet: Wallet, operation: Operation) -> SignedTransaction:
        return wallet.transaction(operation, self.now)

    def claims(self, wallet: Wallet, count: int) -> list[SignedTransaction]:
        """Signed in a row, none of them carried out yet."""
        found = []
        for number in range(count):
            found.append(self.sign(wallet, ClaimDomain(f"d{wallet.nonce}x{number}.example")))
            wallet.done()
        return found


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path)
    yield made
    made.database.close()


def test_recorded_blocks_have_the_same_roots_as_in_the_vectors(tmp_path: Path) -> None:
    written = json.loads(FILE.read_text())
    driver = Driver(tmp_path, decode(Genesis, bytes.fromhex(written["genesis"])))
    for block in written["blocks"]:
        header = SignedHeader.parse(bytes.fromhex(block["header"])).header
        driver.now = header.time_ms
        found = driver.finalize(*map(bytes.fromhex, block["transactions"]), name=header.hash)
        assert found.app_hash == header.root and not any(each.code for each in found.tx_results)
        driver.application.commit()
    assert len(written["blocks"]) > 10
    driver.database.close()


def test_blocks_of_the_embedded_engine_have_the_same_roots_here(tmp_path: Path) -> None:
    clock = Clock()
    with running(tmp_path / "embedded", clock) as ledger:
        wallets = [opened(ledger, number, clock.now) for number in range(1, 8)]
        for turn in range(20):
            clock.now += 10_000
            raws = []
            for number, wallet in enumerate(wallets):
                raws.append(wallet.transaction(ClaimDomain(f"d{turn}x{number}.example"), clock.now).raw)
                wallet.done()
            assert all(receipt.is_done for receipt in ledger.submit(raws).result(timeout=30))
        blocks = blocks_of(ledger)
    driver = Driver(tmp_path, ledger.genesis)
    for signed, raws_ in blocks:
        driver.now = signed.header.time_ms
        # Proposed, voted on and decided: each of them carries the block out, or finds that it has been.
        assert driver.is_accepted(*raws_)
        assert driver.finalize(*raws_, name=signed.header.hash).app_hash == signed.header.root
        driver.application.commit()
    driver.database.close()


def test_a_proposal_has_what_is_good_and_others_accept_exactly_that(driver: Driver) -> None:
    a = driver.wallet(1)
    one, two, three = driver.claims(a, 3)
    bad = one.raw[:-1] + bytes([one.raw[-1] ^ 1])
    envelopes = [pack([bad, one.raw]), pack([three.raw]), b"nonsense", pack([two.raw, b"junk", one.raw])]
    proposed = driver.prepare(*envelopes)
    assert proposed == (one.raw, two.raw)  # three came before two: it waits for the next block
    assert driver.is_accepted(*proposed)
    assert driver.is_accepted()
    for lie in ([one.raw, one.raw], [two.raw], [bad], [b"junk"], [b""], [one.raw, three.raw, two.raw]):
        assert not driver.is_accepted(*lie)
    driver.block(*proposed)
    assert driver.prepare(*envelopes) == (three.raw,)
    assert list(driver.done[-1].receipts) == [one.copy, two.copy]


def test_a_proposal_has_no_more_than_fits(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [each.raw for each in driver.claims(driver.wallet(1), 30)]
    room = sum(len(raw) + 6 for raw in raws[:10])
    assert driver.prepare(pack(raws), room=room) == tuple(raws[:10])
    assert not driver.is_accepted(*[raws[0]] * (MOST_IN_BLOCK + 1))
    monkeypatch.setattr(module, "LONG_BLOCK", 7)
    assert driver.prepare(pack(raws[:4]), pack(raws[4:])) == tuple(raws[:7])


def test_blocks_are_short_while_somebody_waits_who_has_sent_little(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HURRIED_BLOCK", 4)
    many, few = driver.claims(driver.wallet(1), 20), driver.claims(driver.wallet(2), 2)
    forged = SignedTransaction.parse(few[0].raw[:-1] + bytes([few[0].raw[-1] ^ 1]))
    assert driver.check(*many).code == 0 and driver.check(forged, awaited=True).code == 1
    waiting = [pack(each.raw for each in many), pack((each.raw for each in few), awaited=True)]
    assert len(driver.prepare(*waiting)) == 22
    assert driver.check(*few, awaited=True).code == 0
    proposed = driver.prepare(*waiting)
    assert proposed == tuple(each.raw for each in [*few, *many[:2]])
    driver.block(*proposed)
    driver.now += HURRIED_MS
    assert driver.prepare(*waiting) == tuple(each.raw for each in many[2:])


def test_whoever_sends_much_is_not_held_up_for_ever_by_many_who_send_little(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HURRIED_BLOCK", 16)
    many, few = driver.claims(driver.wallet(1), 20), driver.claims(driver.wallet(2), 40)
    little = [pack([each.raw], awaited=True) for each in few]
    assert all(driver.check(each, awaited=True).code == 0 for each in few) and driver.check(*many).code == 0
    proposed = driver.prepare(*little, pack(each.raw for each in many))
    assert len(proposed) == 16 and len(set(proposed) & {each.raw for each in few}) >= 12
    assert many[0].raw in proposed and driver.is_accepted(*proposed)


def test_what_comes_after_a_block_is_judged_on_top_of_all_that_waits(driver: Driver) -> None:
    one, two, three = driver.claims(driver.wallet(1), 3)
    mempool = driver.application.mempool
    assert mempool.admit(one).is_done and mempool.admit(two).is_done
    driver.block(one.raw)
    # Nobody has asked for `two` again yet.
    assert mempool.admit(three).is_done
    for _ in range(PATIENT + 1):
        driver.block()
    # Nor ever did, so it isn't in the mempool any more.
    assert mempool.admit(three).reason == "nonce"


def test_what_the_disk_broke_off_leaves_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("disk I/O error")

    (one,) = driver.claims(driver.wallet(1), 1)
    mempool = driver.application.mempool
    with monkeypatch.context() as broken:
        handlers = {**mempool._ahead._handlers, ClaimDomain: refuse}
        broken.setattr(mempool._ahead, "_handlers", handlers)
        with pytest.raises(OSError):
            mempool.admit(one)
    assert mempool.admit(one).is_done


def test_what_a_round_did_not_decide_leaves_nothing(driver: Driver) -> None:
    a, b = driver.wallet(1), driver.wallet(2)
    (mine,), (other,) = driver.claims(a, 1), driver.claims(b, 1)
    alone = driver.finalize(mine.raw).app_hash
    assert driver.is_accepted(other.raw) and driver.is_accepted(mine.raw, other.raw)
    assert driver.block(mine.raw) == alone
    assert driver.database.get(claim_key(a.account, "d1x0.example"))
    assert driver.database.get(claim_key(b.account, "d1x0.example")) is None


def test_what_is_not_committed_is_not_there_after_a_crash(driver: Driver) -> None:
    a = driver.wallet(1)
    before = driver.application.handle(abci.Info())
    (signed,) = driver.claims(a, 1)
    root = driver.finalize(signed.raw).app_hash
    driver.database.close()
    assert driver.open().handle(abci.Info()) == before
    assert driver.finalize(signed.raw).app_hash == root
    driver.application.commit()
    driver.database.close()
    found = driver.open().handle(abci.Info())
    assert isinstance(found, abci.InfoAnswer)
    assert (found.last_block_height, found.last_block_app_hash) == (driver.height - 1, root)


def test_what_may_wait_goes_ahead_of_the_blocks_and_back(driver: Driver) -> None:
    a = driver.wallet(1)
    one, two, three = driver.claims(a, 3)
    assert driver.check(one, two).code == 0
    assert driver.check(one).code == 0  # by way of another operator: still the same
    assert driver.check(three).code == 0
    assert driver.refused == []
    driver.block(one.raw)
    assert driver.check(one, two, kind=abci.RECHECK).code == 0 and driver.refused == []
    driver.block()
    assert driver.check(one, two, kind=abci.RECHECK).code == 0 and driver.refused == [(one.copy, "nonce")]
    assert driver.check(three, kind=abci.RECHECK).code == 0
    driver.block(two.raw, three.raw)
    assert driver.check(one, two, kind=abci.RECHECK).code == 1
    assert driver.application.mempool.check(abci.CheckTx(b"nonsense")).code == 1
    assert driver.application.mempool.check(abci.CheckTx(pack([b"nonsense"]))).code == 1


def test_what_comes_before_the_block_that_it_follows_waits_for_it(driver: Driver) -> None:
    a = driver.wallet(1)
    one, two, _ = driver.claims(a, 3)
    assert driver.check(two).code == 0 and driver.refused == []
    assert driver.prepare(pack([two.raw])) == ()
    driver.block(one.raw)
    assert driver.check(two, kind=abci.RECHECK).code == 0
    assert driver.prepare(pack([two.raw])) == (two.raw,)


def test_what_never_can_be_carried_out_doesnt_wait_for_long(driver: Driver) -> None:
    a = driver.wallet(1)
    _, two = driver.claims(a, 2)
    codes = []
    for kind in (0, abci.RECHECK, abci.RECHECK):
        codes.append(driver.check(two, kind=kind).code)
        driver.block()
    assert codes == [0, 0, 1] and driver.refused == [(two.copy, "nonce")]


def test_a_signature_is_verified_once_from_the_first_look_to_the_block(driver: Driver) -> None:
    a = driver.wallet(1)
    checked = driver.application.mempool.verifier.checked
    claims = driver.claims(a, 10)
    for each in claims:
        assert driver.application.mempool.admit(each).is_done
    assert driver.check(*claims).code == 0
    proposed = driver.prepare(pack(each.raw for each in claims))
    assert driver.is_accepted(*proposed)
    driver.block(*proposed)
    assert driver.check(*claims, kind=abci.RECHECK).code == 1
    assert driver.application.mempool.verifier.checked == checked + 10


def test_rules_that_are_not_known_yet_stop_the_node_with_a_remedy(tmp_path: Path) -> None:
    driver = Driver(tmp_path, genesis_of(schedule=(Switch(1, 1), Switch(3, 9))))
    driver.block()
    driver.finalize()
    with pytest.raises(HostError) as error:
        driver.application.commit()
    assert "newer" in error.value.remedy
    driver.database.close()


def test_a_decided_block_is_carried_out_whatever_it_has(driver: Driver) -> None:
    a = driver.wallet(1)
    (good,) = driver.claims(a, 1)
    found = driver.finalize(b"junk", good.raw, good.raw)
    assert [each.code for each in found.tx_results] == [1, 0, 1]
    driver.application.commit()
    assert isinstance(driver.application.kept.root, bytes) and list(driver.done[-1].receipts) == [good.copy]


def test_the_last_roots_can_be_proven_whatever_was_proposed_between(driver: Driver) -> None:
    a, b = driver.wallet(1), driver.wallet(2)
    roots: dict[int, bytes] = {}
    for number in range(KEPT_ROOTS + 4):
        new = [Signer(bytes([3 + number % 2]) * 32)]
        one = driver.sign(a, RotateKeys(key_set(new, 1)[0]))
        a.done()
        a.rotated(new, 1)
        assert driver.is_accepted(driver.sign(b, ClaimDomain("other.example")).raw)  # a round that fails
        root = driver.block(one.raw)
        roots[driver.application.kept.height] = root
    snapshot = Snapshot(driver.directory / "ledger.sqlite")
    top = snapshot.top()
    assert top == max(roots)
    key, values = account_key(a.account), set()
    for at in range(top - KEPT_ROOTS + 1, top + 1):
        value = snapshot.record(key, at, top)
        values.add(value)
        proof = prove(partial(snapshot.page, height=at, newest=top), key)
        assert value and verify(roots[at], key, value, proof), at
    assert len(values) == KEPT_ROOTS
    snapshot.close()


def test_a_disk_that_refuses_keeps_nothing_and_is_told(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = driver.wallet(1)
    (signed,) = driver.claims(a, 1)
    root, kept = driver.finalize(signed.raw).app_hash, driver.application.kept

    def refuse(*_: object, **__: object) -> None:
        raise HostError("full")

    with monkeypatch.context() as patch:
        patch.setattr(driver.database, "keep", refuse)
        with pytest.raises(HostError):
            driver.application.commit()
    assert driver.application.kept == kept
    driver.application.commit()  # it can be tried again
    assert driver.application.kept.root == root


def test_another_ledgers_genesis_is_refused(driver: Driver) -> None:
    own = abci.ValidatorUpdate(abci.PublicKey(OPERATOR.public), 1)
    name = chain_name(driver.genesis)
    assert driver.application.begin(abci.InitChain(driver.time, name, (own,))).app_hash
    for bad in (abci.InitChain(driver.time, "other", (own,)), abci.InitChain(driver.time, name, ())):
        with pytest.raises(HostError):
            driver.application.begin(bad)
    with pytest.raises(HostError, match="block 9"):
        driver.application.finalize(abci.FinalizeBlock((), (), b"h" * 32, 9, driver.time))


def test_questions_that_need_no_state(driver: Driver) -> None:
    answer = driver.application.handle
    assert answer(abci.Echo("hello")) == abci.Echo("hello")
    assert answer(abci.Named("list_snapshots")) == answer(abci.Named("flush")) == abci.Empty()
    for word in ("extend_vote", "verify_vote_extension"):
        with pytest.raises(HostError):
            answer(abci.Named(word))
    a = driver.wallet(1)
    found = answer(abci.Query(account_key(a.account)))
    assert isinstance(found, abci.QueryAnswer) and found.code == 0 and found.value
    assert answer(abci.Query(b"\x05none")).code == 1  # type: ignore[attr-defined]


def test_a_result_has_the_epoch_of_its_record(driver: Driver) -> None:
    a = driver.wallet(1)
    (signed,) = driver.claims(a, 1)
    driver.block(signed.raw)
    raw = driver.database.get(claim_key(a.account, "d1x0.example"))
    assert raw is not None
    assert decode(ClaimRecord, raw).epoch == driver.done[-1].receipts[signed.copy].epoch > 0
    assert claim_key(a.account, "d1x0.example") in driver.done[-1].changed
    assert Result().is_done
