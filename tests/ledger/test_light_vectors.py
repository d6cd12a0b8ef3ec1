"""The light client against what others computed: CometBFT's own cases, a model's, and a recorded chain."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.light_chain import drive

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.light.block import NO_TIME_NS, BlockId, Header, LightBlock, Validators, vote_sign_bytes
from zosnet.ledger.light.canonical import SECOND_NS, merkle_root
from zosnet.ledger.light.client import LightClient
from zosnet.ledger.light.rpc import decode_commit, decode_validators, join_pages, light_block_of
from zosnet.ledger.light.verify import Trust, Untrusted, verify
from zosnet.ledger.light.zip215 import verify as verify_signature

VECTORS = Path(__file__).with_name("vectors")
WRITTEN = json.loads((VECTORS / "light.json").read_text())
RECORDED = json.loads((VECTORS / "light-recording.json").read_text())


def raw(document: Any) -> bytes:
    return json.dumps(document).encode()


def recorded(height: int) -> LightBlock:
    header, commit = decode_commit(raw(RECORDED["commits"][height - 1]))
    page = decode_validators(raw(RECORDED["validators"][height - 1]))
    return LightBlock(header, commit, join_pages([page], height))


BLOCKS = {height: recorded(height) for height in range(1, len(RECORDED["commits"]) + 1)}


@pytest.mark.parametrize("case", WRITTEN["merkle"])
def test_the_merkle_root_is_that_of_rfc_6962(case: dict[str, Any]) -> None:
    assert merkle_root([bytes.fromhex(leaf) for leaf in case["leaves"]]).hex() == case["root"]


def test_the_merkle_tree_splits_at_the_largest_power_of_two() -> None:
    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()

    a, b, c, d, e = leaves = [hashlib.sha256(bytes([0, each])).digest() for each in range(5)]
    assert merkle_root([bytes([each]) for each in range(5)]) == node(node(node(a, b), node(c, d)), e)
    assert merkle_root([bytes([each]) for each in range(3)]) == node(node(*leaves[:2]), c)


def test_the_hash_of_a_header_is_cometbfts() -> None:
    def hashed(text: str) -> bytes:
        return hashlib.sha256(text.encode()).digest()

    header = Header(
        1, 2, "chainId", 3, WRITTEN["header"]["time_ns"], BlockId(bytes(32), 6, bytes(32)),
        hashed("last_commit_hash"), hashed("data_hash"), hashed("validators_hash"),
        hashed("next_validators_hash"), hashed("consensus_hash"), hashed("app_hash"),
        hashed("last_results_hash"), hashed("evidence_hash"), hashed("proposer_address")[:20],
    )  # fmt: skip
    assert header.hash.hex() == WRITTEN["header"]["hash"]


@pytest.mark.parametrize("case", WRITTEN["votes"])
def test_what_a_vote_signs_is_cometbfts(case: dict[str, Any]) -> None:
    place = case["height"], case["round"]
    assert vote_sign_bytes(case["chain_id"], case["kind"], place, None, NO_TIME_NS).hex() == case["bytes"]


@pytest.mark.parametrize("case", WRITTEN["signatures"], ids=lambda case: case["why"])
def test_a_signature_counts_where_cometbft_counts_it(case: dict[str, Any]) -> None:
    found = verify_signature(*(bytes.fromhex(case[name]) for name in ("key", "message", "signature")))
    assert found is case["good"]


@pytest.mark.parametrize("case", WRITTEN["model"], ids=lambda case: case["name"])
def test_the_verdicts_are_the_models(case: dict[str, Any]) -> None:
    trusted = header_of(case["initial"]["header"])
    members = validators_of(case["initial"]["next_validators"])
    trust = Trust(period_ns=int(case["period_ns"]), drift_ns=0)
    for step in case["steps"]:
        verdict = "SUCCESS"
        try:
            block = light_block_of(step["block"])
            verify(trusted, members, block, step["now_ns"], trust)
        except Malformed:
            verdict = "INVALID"
        except Untrusted as no:
            verdict = "NOT_ENOUGH_TRUST" if no.reason == "overlap" else "INVALID"
        else:
            trusted, members = block.header, validators_of(step["next_validators"])
        assert verdict == step["verdict"]


def header_of(document: Any) -> Header:
    result = {"signed_header": {"header": document, "commit": ANY_COMMIT}, "canonical": True}
    return decode_commit(raw({"jsonrpc": "2.0", "id": -1, "result": result}))[0]


ANY_COMMIT = RECORDED["commits"][0]["result"]["signed_header"]["commit"]


def validators_of(members: list[Any]) -> Validators:
    size = str(len(members))
    result = {"block_height": "1", "validators": members, "count": size, "total": size}
    return join_pages([decode_validators(raw({"jsonrpc": "2.0", "id": -1, "result": result}))], 1)


def test_each_recorded_header_follows_from_the_one_before() -> None:
    for height in range(1, len(BLOCKS)):
        first, second = BLOCKS[height], BLOCKS[height + 1]
        now = second.header.time_ns + SECOND_NS
        verify(first.header, first.validators, second, now, Trust())
        assert second.header.last_block_id == first.commit.block_id


def test_the_recorded_chain_is_skipped_through() -> None:
    """Powers change from 31 to 47 of which the old ones have 21: the first header vouches for the last."""
    client, last = LightClient(), len(BLOCKS)
    now = BLOCKS[last].header.time_ns + SECOND_NS
    client.pin(BLOCKS[1], 1, BLOCKS[1].header.hash, now)
    found, asked = drive(client.headers_to(last, now), BLOCKS)
    assert found == BLOCKS[last]
    assert asked == [last]


def test_the_recorded_chain_needs_steps_where_more_trust_is_wanted() -> None:
    """Of the old 31 only 17 signed the last header, and 18 to 21 those after the change: not 2/3."""
    client, last = LightClient(Trust(level=(2, 3))), len(BLOCKS)
    now = BLOCKS[last].header.time_ns + SECOND_NS
    client.pin(BLOCKS[1], 1, BLOCKS[1].header.hash, now)
    found, asked = drive(client.headers_to(last, now), BLOCKS)
    assert found == BLOCKS[last]
    assert asked == [14, 7]
    assert [block.height for block in client.store] == [1, 7, 14]


def test_recorded_pages_are_joined() -> None:
    pages = [decode_validators(raw(page)) for page in RECORDED["pages"]]
    last = len(BLOCKS)
    assert join_pages(pages, last) == BLOCKS[last].validators
    for wrong in (pages[:2], [*pages, pages[0]], [pages[1], pages[0], pages[2]], []):
        with pytest.raises(Malformed):
            join_pages(wrong, last)
    with pytest.raises(Malformed):
        join_pages(pages, last - 1)


def test_a_nodes_refusal_is_said() -> None:
    with pytest.raises(Malformed, match="height 1014 must be less than or equal"):
        decode_commit(raw(RECORDED["refused"]))
