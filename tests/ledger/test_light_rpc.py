"""Reading what a CometBFT node says: any bytes give the value that they spell, or the one error."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.light_chain import LightChain, commit
from tests.ledger.test_light_vectors import BLOCKS, RECORDED, raw

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.light.block import NO_BLOCK, BlockId, Commit, CommitSig, Flag, Header, LightBlock
from zosnet.ledger.light.rpc import (
    decode_commit,
    decode_light_block,
    decode_validators,
    encode_light_block,
    light_block_document,
)
from zosnet.ledger.light.verify import Trust, Untrusted, verify

MIXED = LightChain(2, powers_at=lambda _: dict.fromkeys(range(7), 10))
BLOCK = commit(MIXED.blocks[2].header, MIXED.blocks[2].validators, absent=[1], nil=[2])
SPELT = encode_light_block(BLOCK)
COMMIT, PAGE = RECORDED["commits"][12], RECORDED["validators"][12]
DECODERS = [decode_commit, decode_validators, decode_light_block]


@pytest.mark.parametrize("block", [BLOCK, *BLOCKS.values()], ids=lambda block: f"{block.height}")
def test_a_light_block_has_one_spelling(block: LightBlock) -> None:
    assert decode_light_block(encode_light_block(block)) == block


HASHES = st.binary(min_size=32, max_size=32)
TIMES = st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1)
BLOCK_IDS = st.just(NO_BLOCK) | st.builds(BlockId, HASHES, st.integers(1, 2**32 - 1), HASHES)


@given(
    st.builds(
        Header, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=50),
        st.integers(1, 2**63 - 1), TIMES, BLOCK_IDS, *[st.just(b"") | HASHES] * 2, HASHES, HASHES,
        st.just(b"") | HASHES, st.binary(max_size=40), *[st.just(b"") | HASHES] * 2,
        st.binary(min_size=20, max_size=20),
    ),
    TIMES,
)  # fmt: skip
@settings(deadline=None)
def test_any_header_comes_back_as_it_was_written(header: Header, time_ns: int) -> None:
    vote = CommitSig(Flag.COMMIT, bytes(20), time_ns, bytes(64))
    signed = Commit(header.height, 2**31 - 1, BlockId(bytes(32), 1, bytes(32)), (vote,))
    block = LightBlock(header, signed, BLOCK.validators)
    assert decode_light_block(encode_light_block(block)) == block


@given(st.binary() | st.text().map(str.encode) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "result", "error", "signed_header", "validators"]), inner
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_refused_with_one_error(data: bytes) -> None:
    for decode in DECODERS:
        with pytest.raises(Malformed):
            decode(data)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for name, value in inner:
        found.append((*path, name))
        if isinstance(value, dict | list):
            found += places(value, (*path, name))
    return found


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**70, 1.5, "", "0", "01", "-0", "+1", " 1", "1e3", "١", "9" * 30, "\ud800",
     "AB", "ab", "ABC", "A===", "AAAA\n", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", [], {}, [[]],
     "2026-01-01T00:00:00.10Z", "2026-01-01T00:00:00+00:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)  # fmt: skip


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_an_answer_with_another_value_anywhere_is_refused_or_read_as_what_it_says(
    data: st.DataObject,
) -> None:
    document, decode = data.draw(
        st.sampled_from(
            [
                (COMMIT, decode_commit),
                (PAGE, decode_validators),
                (light_block_document(BLOCK), decode_light_block),
            ]
        )
    )
    bent = copy.deepcopy(document)
    path = data.draw(st.sampled_from(places(document)))
    spot = bent
    for step in path[:-1]:
        spot = spot[step]
    match data.draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            spot[path[-1]] = data.draw(ODD)
        case "remove":
            del spot[path[-1]]
        case _ if isinstance(spot, dict):
            spot["unknown"] = data.draw(ODD)
    try:
        found: Any = decode(raw(bent))
    except Malformed:
        return
    assert isinstance(found, tuple | type(decode(raw(document))))


@given(st.integers(0, len(SPELT) - 1), st.integers(0, 255))
@settings(max_examples=1000, deadline=None)
def test_a_changed_byte_in_the_text_is_refused_or_says_the_same(at: int, byte: int) -> None:
    bent = SPELT[:at] + bytes([byte]) + SPELT[at + 1 :]
    before = MIXED.blocks[1]
    try:
        block = decode_light_block(bent)
        verify(before.header, before.validators, block, MIXED.now_ns, Trust())
    except (Malformed, Untrusted):
        return
    assert block == BLOCK


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Malformed, match="twice"):
        decode_light_block(SPELT.replace(b'"height":', b'"height":"1","height":', 1))


def test_what_nests_deeply_or_is_too_long_is_refused() -> None:
    for data in (b"[" * 100_000, b'{"error":' * 100_000, b" " * (8 << 20) + b"1"):
        for decode in DECODERS:
            with pytest.raises(Malformed):
                decode(data)


def test_only_ed25519_keys_are_read() -> None:
    bent = SPELT.replace(b"tendermint/PubKeyEd25519", b"tendermint/PubKeySecp256k1", 1)
    with pytest.raises(Malformed, match="Ed25519"):
        decode_light_block(bent)


def test_a_proposer_must_be_a_validator() -> None:
    document = light_block_document(BLOCK)
    document["validator_set"]["proposer"] = document["validator_set"]["validators"][0]
    assert decode_light_block(raw(document)) == BLOCK
    document["validator_set"]["proposer"] = light_block_document(BLOCKS[1])["validator_set"]["validators"][0]
    with pytest.raises(Malformed, match="proposer"):
        decode_light_block(raw(document))
