"""`zosnet ledger verify --rpc` against nodes that answer as CometBFT does, on sockets of this machine."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.ledger.light_chain import FOUR, LightChain, Powers, commit
from tests.ledger.test_cli import Here, Outcome

from zosnet.ledger.client.comet import HttpRpc, fetch, newest_height
from zosnet.ledger.encoding import Malformed, encode
from zosnet.ledger.light.block import LightBlock
from zosnet.ledger.light.canonical import SECOND_NS
from zosnet.ledger.light.client import Store
from zosnet.ledger.light.rpc import light_block_document
from zosnet.ledger.light.saved import KEPT, decode_store, encode_store
from zosnet.ledger.records import NameRecord, name_key
from zosnet.ledger.tree import Tree, prove
from zosnet.model.errors import HostError, PeerError, UsageError

KEY = name_key("shop")
RECORD = NameRecord(7, bytes(32), 1_900_000_000_000)


def answers(blocks: dict[int, LightBlock], url: str) -> Any:
    """What a node says to a GET."""
    parts = urlsplit(url)
    query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
    height = query.get("height", max(blocks))
    envelope: dict[str, Any] = {"jsonrpc": "2.0", "id": -1}
    if height not in blocks:
        return envelope | {"error": {"code": -32603, "message": "Internal error", "data": "no such height"}}
    document = light_block_document(blocks[height])
    if parts.path == "/commit":
        result = {"signed_header": document["signed_header"], "canonical": True}
    else:
        start = (query["page"] - 1) * query["per_page"]
        members = document["validator_set"]["validators"]
        page = members[start : start + query["per_page"]]
        counts = {"count": str(len(page)), "total": str(len(members))}
        result = {"block_height": str(height), "validators": page, **counts}
    return envelope | {"result": result}


@contextmanager
def node(where: Path | None, blocks: dict[int, LightBlock]) -> Iterator[str]:
    """A node on a unix socket, or on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers(blocks, self.path)).encode()
            self.send_response(500 if b'"error"' in body else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "here"

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server: socketserver.BaseServer
    if where is None:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{server.server_address[1]}"
    else:
        server = socketserver.ThreadingUnixStreamServer(str(where), Handler)
        url = f"unix://{where}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tree() -> tuple[bytes, Callable[[bytes], bytes | None]]:
    pages: dict[bytes, bytes] = {}
    root, changes = Tree(pages.get).update({KEY: encode(RECORD), name_key("other"): b"x"})
    pages.update({prefix: page for prefix, page in changes.items() if page is not None})
    return root, pages.get


def changing(height: int) -> Powers:
    return FOUR if height < 5 else {7: 1, 8: 1}


@pytest.fixture
def chain() -> LightChain:
    return LightChain(9, changing, root=tree()[0], start_ns=time.time_ns() - 9 * SECOND_NS)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


def start(chain: LightChain, height: int = 1) -> tuple[str, ...]:
    return "--height", str(height), "--hash", chain.blocks[height].header.hash.hex()


def verify(run: Here, *words: str) -> Outcome:
    return run("ledger", "verify", "--json", *words)


def write_proof(path: Path, **changes: Any) -> str:
    document = {
        "height": 7, "key": KEY.hex(), "value": encode(RECORD).hex(),
        "proof": encode(prove(tree()[1], KEY)).hex(),
    }  # fmt: skip
    path.write_text(json.dumps(document | changes))
    return str(path)


@pytest.mark.parametrize("is_unix", [True, False])
def test_from_a_pinned_height_and_hash_to_the_newest_header(
    run: Here, chain: LightChain, tmp_path: Path, is_unix: bool
) -> None:
    with node(tmp_path / "rpc.sock" if is_unix else None, chain.blocks) as url:
        outcome = verify(run, "--rpc", url, *start(chain))
    assert outcome.code == 0, outcome.err
    found = outcome.document
    assert (found["height"], found["chain"], found["is_stale"]) == (9, "light-test", False)
    assert found["hash"] == chain.blocks[9].header.hash.hex()
    assert 1 < found["fetched"] <= 8


def test_trust_is_kept_in_a_file_and_the_next_run_starts_there(
    run: Here, chain: LightChain, tmp_path: Path
) -> None:
    kept = tmp_path / "trust.json"
    with node(tmp_path / "rpc.sock", chain.blocks) as url:
        assert verify(run, "--rpc", url, "--trusted", str(kept)).code == 2
        assert verify(run, "--rpc", url, "--trusted", str(kept), *start(chain)).code == 0
        assert kept.stat().st_mode & 0o777 == 0o600
        assert verify(run, "--rpc", url, "--trusted", str(kept)).document["fetched"] == 0
        kept.write_text("{}")
        again = verify(run, "--rpc", url, "--trusted", str(kept))
    assert again.code == 3
    assert "start anew" in again.err


def test_a_witness_that_sees_another_chain_ends_all_trust(
    run: Here, chain: LightChain, tmp_path: Path
) -> None:
    other = LightChain(9, changing, mark=b"other", like=chain, until=6)
    kept = tmp_path / "trust.json"
    with node(tmp_path / "a.sock", chain.blocks) as one, node(tmp_path / "b.sock", other.blocks) as two:
        agreed = verify(run, "--rpc", one, "--witness", one, *start(chain))
        assert (agreed.code, agreed.document["witnesses"]) == (0, 1)
        outcome = verify(run, "--rpc", one, "--witness", two, "--trusted", str(kept), *start(chain))
    assert outcome.code == 4
    assert "two signed headers of height" in outcome.err
    assert not kept.exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (2, ("--height", "1")),
        (2, ("--trusted", "none.json")),
        (2, ()),
        (2, ("--height", "1", "--hash", "00" * 32, "--replay")),
        (2, ("--height", "1", "--hash", "00" * 32, "--chain", "00" * 32)),
        (4, ("--height", "1", "--hash", "00" * 32)),
        (4, ("--height", "77", "--hash", "00" * 32)),
    ],
)
def test_what_is_not_trusted_is_refused(
    run: Here, chain: LightChain, tmp_path: Path, code: int, words: tuple[str, ...]
) -> None:
    with node(tmp_path / "rpc.sock", chain.blocks) as url:
        outcome = verify(run, "--rpc", url, *words)
    assert outcome.code == code
    assert "Traceback" not in outcome.err


def test_options_of_a_light_client_want_a_node(run: Here) -> None:
    assert verify(run, "--witness", "http://127.0.0.1:1").code == 2
    assert verify(run, "--rpc", "ftp://127.0.0.1", "--height", "1", "--hash", "00" * 32).code == 2


def test_a_forged_block_is_refused(run: Here, chain: LightChain, tmp_path: Path) -> None:
    last = chain.blocks[9]
    forged = commit(replace(last.header, app_hash=bytes(32)), last.validators, absent=[7])
    with node(tmp_path / "rpc.sock", chain.blocks | {9: forged}) as url:
        outcome = verify(run, "--rpc", url, *start(chain))
    assert outcome.code == 4
    assert "not more than" in outcome.err


def test_a_frozen_ledger_is_told(run: Here, tmp_path: Path) -> None:
    old = LightChain(9, start_ns=time.time_ns() - 100 * SECOND_NS)
    with node(tmp_path / "rpc.sock", old.blocks) as url:
        assert verify(run, "--rpc", url, *start(old)).document["is_stale"]


def test_an_old_pin_vouches_for_nothing(run: Here, tmp_path: Path) -> None:
    old = LightChain(9, start_ns=time.time_ns() - 2 * 86_400 * SECOND_NS)
    with node(tmp_path / "rpc.sock", old.blocks) as url:
        assert verify(run, "--rpc", url, *start(old)).code == 0
        outcome = verify(run, "--rpc", url, "--trust-days", "1", *start(old))
    assert outcome.code == 4
    assert "trust period" in outcome.err


def test_a_record_is_proven_by_the_header_after_its_block(
    run: Here, chain: LightChain, tmp_path: Path
) -> None:
    file = tmp_path / "proof.json"
    with node(tmp_path / "rpc.sock", chain.blocks) as url:

        def check(**changes: Any) -> Outcome:
            return verify(run, "--rpc", url, *start(chain), "--proof", write_proof(file, **changes))

        good = check()
        assert good.code == 0, good.err
        assert good.document["height"] == 8
        assert good.document["record"]["epoch"] == RECORD.epoch
        assert check(value=None).code == 4
        assert check(key=name_key("shops").hex()).code == 4
        assert check(height=9).code == 4  # there is no header 10 yet
        for bad in ({"height": "7"}, {"height": 0}, {"key": "zz"}, {"key": "ff"}, {"proof": "00"}):
            assert check(**bad).code == 4


def test_many_validators_come_page_by_page(tmp_path: Path) -> None:
    crowd = LightChain(2, powers_at=lambda _: dict.fromkeys(range(230), 1))
    with node(tmp_path / "rpc.sock", crowd.blocks) as url:
        rpc = HttpRpc(url)
        assert newest_height(rpc) == 2
        assert fetch(rpc, 2) == crowd.blocks[2]


def test_a_node_that_is_gone_or_speaks_nonsense(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no node answers"):
        newest_height(HttpRpc(f"unix://{tmp_path}/none.sock"))

    class Nonsense:
        def __init__(self, body: bytes) -> None:
            self.body = body

        def get(self, path: str) -> bytes:
            return self.body

    with pytest.raises(PeerError, match="nonsense"):
        newest_height(Nonsense(b"<html>"))
    for url in ("", "unix://", "unix://host/path", "http://", "http://[", "http://a/path", "host:1"):
        with pytest.raises(UsageError, match="no place of a node"):
            HttpRpc(url)


def test_a_store_comes_back_as_it_was_written(chain: LightChain) -> None:
    store = Store(KEPT)
    for height in (1, 4, 9):
        store.add(chain.blocks[height])
    raw = encode_store(store)
    assert list(decode_store(raw)) == list(store)
    for bad in (b"", b"[]", raw[:-1], raw.replace(b"light/1", b"light/2"), encode_store(Store())):
        with pytest.raises(Malformed):
            decode_store(bad)
    forked = json.loads(raw)
    other = LightChain(9, changing, mark=b"other").blocks[9]
    forked["blocks"].append(light_block_document(other))
    with pytest.raises(Malformed, match="two signed headers"):
        decode_store(json.dumps(forked).encode())
