"""Four operators and the real CometBFT, on this machine: names, and what happens when something breaks."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.comet import TIMING, Cluster, Node, claim, free_ports, now_ms, running, wait_for

from zosnet.cli.main import main
from zosnet.ledger.client.desk import Desk
from zosnet.ledger.client.follower import STALE_MS, Follower
from zosnet.ledger.comet.signed import trouble_of
from zosnet.ledger.engine.cometbft.home import Timing
from zosnet.ledger.engine.cometbft.rpc import TIMEOUT_S
from zosnet.ledger.engine.interface import Receipt
from zosnet.ledger.records import name_key
from zosnet.ledger.replay import replay
from zosnet.ledger.transaction import ClaimDomain
from zosnet.model.errors import HostError, ZosnetError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("four"), 4) as made:
        yield made


@pytest.fixture
def four(cluster: Cluster) -> Iterator[Cluster]:
    """All are up before, and up, of one mind and still going on after."""
    yield cluster
    for node in cluster.nodes:
        if node.process is None:
            node.start()
    height = cluster.agree()
    cluster.wait("a block after it", lambda: cluster.nodes[0].height > height)


def test_a_name_is_reserved_with_one_operator_and_proven_by_another(four: Cluster) -> None:
    here, there = four.nodes[0], four.nodes[1]
    desk = Desk(Follower(here.way, four.genesis.chain), b"s" * 32)
    receipt = desk.reserve("shop")
    assert receipt.is_done and receipt.epoch
    four.wait("the block", lambda: there.reaches(receipt.height + 1))
    follower = Follower(there.way, four.genesis.chain)
    follower.catch_up()
    record = follower.ask([name_key("shop"), name_key("blog")])
    assert record[name_key("shop")].holder == desk.account and record[name_key("blog")] is None
    found = there.way.find(receipt.id)
    assert found == receipt.height
    status = there.status
    assert (status["engine"], status["trouble"]) == ("cometbft", "")


def test_headers_have_the_operators_signatures_and_blocks_replay_to_their_roots(four: Cluster) -> None:
    way = four.nodes[2].way
    claim(four.nodes[0], four.account(four.nodes[0]), 1)
    headers = way.headers(1, 1000)
    assert all(trouble_of(four.genesis, each) is None for each in headers)
    blocks = [way.block(each.header.height) for each in headers[:20]]
    replayed = replay(four.genesis, [(each.header, each.transactions) for each in blocks if each])
    assert [header.height for header in replayed] == list(range(1, len(blocks) + 1))


def test_a_light_client_follows_a_node_and_a_witness(
    four: Cluster, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    start = four.nodes[0].way.headers(2, 1)[0].header
    urls = [f"unix://{node.directory}/comet/rpc.sock" for node in four.nodes[:2]]
    pin = ["--height", "2", "--hash", start.hash.hex()]
    assert main(["ledger", "verify", "--rpc", urls[0], "--witness", urls[1], *pin, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = four.nodes[2].way.headers(document["height"], 1)[0].header
    assert document["hash"] == found.hash.hex() and document["witnesses"] == 1
    desk = Desk(Follower(four.nodes[0].way, four.genesis.chain), b"l" * 32)
    desk.reserve("light")
    assert main(["ledger", "proof", "light", "--ledger", four.nodes[0].way.path]) == 0
    file = tmp_path / "proof.json"
    file.write_text(capsys.readouterr().out)
    assert main(["ledger", "verify", "--rpc", urls[1], "--proof", str(file), *pin, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record"]["holder"] == desk.account.hex()
    assert main(["ledger", "verify", "--proof", str(file)]) == 0


def test_a_change_is_heard_of_at_once(four: Cluster) -> None:
    here, there = four.nodes[0], four.nodes[3]
    wallet = four.account(here)
    follower = Follower(there.way, four.genesis.chain)
    keys = [name_key("heard")]
    follower.watch(keys)
    heard: list[float] = []

    def listen() -> None:
        follower.follow(lambda: follower.known(keys[0]) is not None)
        heard.append(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    desk = Desk(Follower(here.way, four.genesis.chain), b"h" * 32)
    desk.reserve("heard")
    done = time.monotonic()
    thread.join(30)
    assert wallet.nonce == 1
    # The bar is a second on a quiet machine; here it must be far below the wait for an idle block's proof.
    assert heard and heard[0] - done < 5


def test_a_cometbft_that_is_stopped_shows_in_the_status_and_goes_on(four: Cluster) -> None:
    node = four.nodes[3]
    assert node.process is not None
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    (pid,) = [int(pid) for each in children for pid in each.read_text().split()]
    os.kill(pid, signal.SIGSTOP)
    try:
        four.wait("trouble", lambda: "CometBFT doesn't answer" in node.status["trouble"])
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(HostError, match="CometBFT doesn't answer"):
                node.way.block(1)
        assert time.monotonic() - began < TIMEOUT_S  # nobody asked it
        assert node.way.headers(1, 1)
    finally:
        os.kill(pid, signal.SIGCONT)
    four.wait("no trouble", lambda: node.way.block(1) and not node.status["trouble"])


def test_blocks_come_when_idle_and_time_is_never_old(four: Cluster) -> None:
    assert Timing().idle + Timing().commit < 5000 and 2 * Timing().idle < STALE_MS
    node = four.nodes[0]
    wallet = four.account(node)
    start = four.agree()
    four.wait("idle blocks", lambda: node.reaches(start + 3))
    receipt = claim(node, wallet, 1)
    four.wait("its header", lambda: node.reaches(receipt.height))
    times = [each.header.time_ms for each in node.way.headers(start, receipt.height - start + 1)]
    assert all(a < b for a, b in itertools.pairwise(times))
    idle_ms = int(TIMING.split(",")[-1])
    # The block's time is that of the votes on the block before it, so an idle interval old at most.
    assert max(b - a for a, b in itertools.pairwise(times)) < idle_ms + 3000


def test_refusals_have_reasons_and_change_nothing(four: Cluster) -> None:
    node = four.nodes[0]
    wallet = four.account(node)
    good = wallet.transaction(ClaimDomain("x.example"), now_ms())
    bad = good.raw[:-1] + bytes([good.raw[-1] ^ 1])
    found = node.way.submit([bad, b"nonsense", good.raw, good.raw])
    assert [each.reason for each in found[:2]] == ["signature", "malformed"]
    assert found[2].is_done and found[2:] == [found[2]] * 2
    assert node.way.submit([good.raw])[0].reason == "nonce"
    assert node.way.submit([]) == []


# Drills.


def test_one_of_four_is_killed_and_comes_back(four: Cluster) -> None:
    dead, alive = four.nodes[0], four.nodes[1]
    wallet = four.account(alive)
    dead.kill()
    waits = []
    for number in range(5):
        started = time.monotonic()
        assert claim(alive, wallet, number).is_done
        waits.append(time.monotonic() - started)
    # The dead one's turn costs a timeout. 3 s is the bar on a quiet machine with the usual timing.
    assert max(waits) < 10, waits
    dead.start()
    four.wait("it catches up", lambda: dead.reaches(alive.height))
    four.agree()
    assert all(trouble_of(four.genesis, each) is None for each in dead.way.headers(1, 1000))


def test_two_of_four_are_killed_and_nothing_goes_on_without_them(four: Cluster) -> None:
    alive = four.nodes[:2]
    wallet = four.account(alive[0])
    receipts: list[Receipt | ZosnetError] = []

    def submit() -> None:
        try:
            receipts.append(claim(alive[0], wallet, 1))
        except ZosnetError as error:
            receipts.append(error)

    for node in four.nodes[2:]:
        node.kill()
    stuck = threading.Thread(target=submit)
    height = max(node.height for node in alive)  # one block may have been decided already
    stuck.start()
    time.sleep(3 * int(TIMING.split(",")[-1]) / 1000)  # three blocks would have come, had there been any
    assert all(node.height <= height + 1 for node in alive) and not receipts
    four.nodes[2].start()
    stuck.join(60)
    (receipt,) = receipts
    # On a busy machine it may have been given up meanwhile; then it says so.
    assert receipt.is_done if isinstance(receipt, Receipt) else isinstance(receipt, HostError)
    four.agree(*four.nodes[:3])


def test_proposals_that_lie_are_rejected(four: Cluster) -> None:
    liar, honest = four.nodes[3], four.nodes[0]
    liar.stop()
    liar.start("--lie")
    four.wait("the liar", lambda: liar.reaches(honest.height))
    wallet = four.account(honest)
    receipts = [claim(honest, wallet, number) for number in range(8)]
    assert all(each.is_done for each in receipts)
    first, last = receipts[0].height, receipts[-1].height
    # A block's header comes a moment after the receipts.
    four.wait("the last header", lambda: honest.reaches(last))
    four.agree()
    blocks = [honest.way.block(height) for height in range(first, last + 1)]
    raws = [raw for block in blocks if block for raw in block.transactions]
    assert len(raws) == 8 and b"a name for nothing" not in raws
    # Its turns came, and passed: rounds beyond the first were needed.
    rounds = [each.header.block.commit.round for each in blocks if each]  # type: ignore[attr-defined]
    assert max(rounds) > 0
    liar.stop()


def test_one_key_in_two_processes_is_seen(four: Cluster, tmp_path: Path) -> None:
    twin = Node(tmp_path / "twin", four.nodes[3].secret)
    shutil.copytree(
        four.nodes[3].directory, twin.directory, ignore=shutil.ignore_patterns("comet", "*.sqlite*", "*.sock")
    )
    twin.start("--twin", "--listen", f"127.0.0.1:{free_ports(1)[0]}")
    try:
        wallet = four.account(four.nodes[0])
        numbers = itertools.count()

        def is_seen() -> bool:
            claim(four.nodes[0], wallet, next(numbers))
            return "signed two things" in four.nodes[0].status["trouble"]

        four.wait("evidence", is_seen)
    except AssertionError as error:
        raise AssertionError(f"{error}\n--- twin\n{twin.log()}") from None
    finally:
        twin.kill()
    four.agree()


@pytest.mark.privileged
def test_a_full_disk_stops_one_and_loses_nothing(four: Cluster, tmp_path: Path) -> None:
    small, other = four.nodes[3], four.nodes[0]
    small.stop()
    place = tmp_path / "small"
    place.mkdir()
    used = sum(each.stat().st_size for each in small.directory.rglob("*") if each.is_file())
    size = used + (32 << 20)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    mounted = Node(place / "n", small.secret)
    try:
        shutil.copytree(small.directory, mounted.directory, ignore=shutil.ignore_patterns("*.sock"))
        mounted.start()
        four.wait("it is there", lambda: mounted.reaches(other.height))
        filler = place / "filler"
        with filler.open("wb", buffering=0) as out, pytest.raises(OSError, match="space"):
            while True:
                out.write(bytes(4096))
        wallet = four.account(other)
        for number in range(10):
            assert claim(other, wallet, number).is_done
        wait_for("trouble", lambda: mounted.status["trouble"])
        before = mounted.height
        filler.unlink()
        wait_for("it goes on", lambda: mounted.height > before and mounted.reaches(other.height))
        height = mounted.height
        four.wait("the same block", lambda: other.reaches(height))
        assert other.root_at(height) == mounted.root_at(height)
    finally:
        mounted.stop()
        shutil.rmtree(small.directory)
        shutil.copytree(mounted.directory, small.directory, ignore=shutil.ignore_patterns("*.sock"))
        subprocess.run(["umount", str(place)], check=True)
