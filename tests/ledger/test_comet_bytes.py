"""What is said to CometBFT, as bytes: read back as it was written, and nonsense refused in one way only."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.chain import genesis_of
from tests.ledger.test_fuzz import bent

from zosnet.ledger.comet import abci
from zosnet.ledger.comet.envelope import (
    MOST_AWAITED,
    MOST_BYTES,
    MOST_IN_ENVELOPE,
    is_awaited,
    pack,
    unpack,
)
from zosnet.ledger.comet.founding import Introduction, Membership, address_of, found, introduce
from zosnet.ledger.comet.protobuf import decode, encode, read_varint, varint
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.genesis import Parameters
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import LARGEST
from zosnet.model.errors import UsageError

TIMES = st.builds(abci.Time, st.integers(-(2**62), 2**62), st.integers(0, 999_999_999))
TXS = st.lists(st.binary(max_size=40), max_size=5).map(tuple)
HEIGHTS = st.integers(-(2**63), 2**63 - 1)
MISBEHAVIOR = st.builds(
    abci.Misbehavior, st.integers(0, 2),
    st.builds(abci.Validator, st.binary(max_size=20), HEIGHTS) | st.none(), HEIGHTS, TIMES | st.none(),
)  # fmt: skip
UPDATES = st.builds(
    abci.ValidatorUpdate, st.builds(abci.PublicKey, st.binary(max_size=32)) | st.none(), HEIGHTS
)
REQUESTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(abci.Echo, st.text(max_size=20)),
    st.builds(abci.Info, st.text(max_size=20)),
    st.builds(
        abci.InitChain, TIMES, st.text(max_size=20), st.lists(UPDATES, max_size=3).map(tuple),
        st.binary(max_size=20), HEIGHTS,
    ),
    st.builds(abci.Query, st.binary(max_size=20), st.text(max_size=9), HEIGHTS, st.integers(0, 1)),
    st.builds(abci.CheckTx, st.binary(max_size=300), st.integers(0, 1)),
    st.builds(abci.PrepareProposal, HEIGHTS, TXS, HEIGHTS, TIMES),
    st.builds(abci.ProcessProposal, TXS, st.binary(max_size=32), HEIGHTS, TIMES),
    st.builds(
        abci.FinalizeBlock, TXS, st.lists(MISBEHAVIOR, max_size=2).map(tuple), st.binary(max_size=32),
        HEIGHTS, TIMES,
    ),
    st.just(abci.Commit()),
    st.sampled_from(["flush", "list_snapshots", "extend_vote"]).map(abci.Named),
)  # fmt: skip
GOOD = [
    abci.request_bytes(abci.FinalizeBlock((b"one", b"two"), (), b"h" * 32, 7, abci.Time(5, 6))),
    abci.request_bytes(abci.CheckTx(pack([b"a" * 50, b"b"]), 1)),
    abci.request_bytes(abci.Named("flush")),
]


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_a_number_is_read_back(value: int, more: bytes) -> None:
    raw = varint(value)
    assert read_varint(raw + more, 0) == (value, len(raw)) and len(raw) <= 10


def test_numbers_as_the_format_says() -> None:
    # protobuf.dev, "Encoding": 150 is 96 01; negative numbers have ten bytes.
    assert varint(150) == bytes.fromhex("9601") and varint(-2) == bytes.fromhex("fe" + "ff" * 8 + "01")
    for raw in (b"", b"\x80", b"\xff" * 11):
        with pytest.raises(Malformed):
            read_varint(raw, 0)


@given(st.lists(REQUESTS, max_size=5), st.data())
def test_requests_are_read_back_however_they_are_cut(requests: list[Any], data: st.DataObject) -> None:
    raw = b"".join(map(abci.request_bytes, requests))
    found: list[Any] = []
    rest = b""
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        rest, raw = rest + raw[:size], raw[size:]
        more, taken = abci.read_requests(rest)
        found, rest = found + more, rest[taken:]
    assert (found, rest) == (requests, b"")


@settings(max_examples=500)
@given(bent(GOOD) | st.binary(max_size=200))
def test_nonsense_on_the_socket_is_malformed_and_nothing_else(raw: bytes) -> None:
    try:
        found, taken = abci.read_requests(raw)
    except Malformed:
        return
    assert taken <= len(raw) and len(found) <= taken


@given(REQUESTS.filter(lambda each: not isinstance(each, abci.Named)), st.binary(max_size=9))
def test_unknown_fields_are_skipped(request: Any, content: bytes) -> None:
    more = varint(99 << 3 | 2) + varint(len(content)) + content + varint(98 << 3) + b"\x05"
    assert decode(type(request), encode(request) + more) == request


def test_answers_have_the_numbers_that_cometbft_reads() -> None:
    # Request 20 is answered by Response 21, request 2 by 3, and an exception is 1.
    answer = abci.FinalizedBlock((abci.TxResult(), abci.TxResult(1)), b"r")
    assert abci.response_bytes(abci.FinalizeBlock(), answer).hex() == "0caa010912001202" + "08012a0172"
    assert abci.response_bytes(abci.Named("flush"), abci.Empty()).hex() == "021a00"
    assert abci.response_bytes(abci.Commit(), abci.Failure("no")).hex() == "060a040a026e6f"
    with pytest.raises(Malformed):
        abci.read_requests(varint(1 << 40))


@given(st.lists(st.binary(min_size=1, max_size=100), min_size=1, max_size=20), st.booleans())
def test_an_envelope_is_read_back(raws: list[bytes], awaited: bool) -> None:
    raws = raws[:MOST_AWAITED] if awaited else raws
    envelope = pack(raws, awaited=awaited)
    assert unpack(envelope) == raws and is_awaited(envelope) == awaited


@settings(max_examples=300)
@given(bent([pack([b"one", b"two"]), pack([b"one"], awaited=True)]) | st.binary(max_size=60))
def test_a_bent_envelope_is_refused_or_is_what_it_says(raw: bytes) -> None:
    try:
        assert pack(unpack(raw), awaited=is_awaited(raw)) == raw
    except Malformed:
        pass


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x01", b"\x03\x00\x00\x00\x01a", pack([b""]), pack([b"a"] * (MOST_IN_ENVELOPE + 1)),
     pack([b"a"] * (MOST_AWAITED + 1), awaited=True),
     pack([bytes(LARGEST + 1)]), pack([bytes(LARGEST)] * (MOST_BYTES // LARGEST + 1)), pack([b"ab"])[:-1]],
)  # fmt: skip
def test_envelopes_have_limits(raw: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(raw)


# Founding.


def word(number: int, address: str = "127.0.0.1:1000", time_ms: int = 5) -> Introduction:
    key = bytes([number]) * 32
    return introduce(Signer.derive(key, "operator v1"), Signer.derive(key, "node v1"), address, time_ms)


def test_all_operators_make_the_same_ledger_whatever_the_order() -> None:
    words = [word(number, f"h{number}.example:26656", number) for number in range(4)]
    one, other = (found(each, "ours", Parameters()) for each in (words, words[::-1]))
    assert one == other and one.genesis.time_ms == 3
    assert Membership.parse(json.loads(json.dumps(one.document))) == one
    assert found(words, "theirs", Parameters()).genesis.chain != one.genesis.chain
    assert found(words[:3], "ours", Parameters()).genesis.chain != one.genesis.chain


def test_an_introduction_is_believed_as_it_was_signed_only() -> None:
    document = word(1).document
    assert Introduction.parse(json.loads(json.dumps(document))) == word(1)
    other = word(2, "10.0.0.1:1")
    lies: tuple[Any, ...] = (
        document | {"address": "10.0.0.1:1"},
        document | {"operator": "00" * 32},
        document | {"schema": "zosnet.other/1"},
        document | {"introduction": document["introduction"][:-2]},
        document | {"introduction": 5},
        {}, [], None, 7,
    )  # fmt: skip
    for bad in lies:
        with pytest.raises(UsageError):
            Introduction.parse(bad)
    with pytest.raises(ValueError, match="signature"):
        replace(other, address="10.0.0.2:1")
    bads: tuple[Any, ...] = ({"genesis": "00", "operators": []}, {"genesis": 1}, None)
    for bad in bads:
        with pytest.raises(UsageError):
            Membership.parse(bad)


@settings(max_examples=200)
@given(bent([bytes.fromhex(word(1).document["introduction"])]))
def test_a_bent_introduction_is_nobodys(raw: bytes) -> None:
    document = word(1).document
    if raw.hex() != document["introduction"]:
        with pytest.raises(UsageError):
            Introduction.parse(document | {"introduction": raw.hex()})


def test_operators_who_cannot_found_a_ledger() -> None:
    for words in ([], [word(1), word(1)], [word(1), word(2)]):
        with pytest.raises(UsageError):
            found(words, "ours", Parameters())
    with pytest.raises(UsageError):
        found([word(1)], "with a space", Parameters())


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:0", "host:65536", ":1", "2001:db8::1:80", "a b:1"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        address_of(text)
    assert address_of("[400::1]:26656") and address_of("host.example:1")


def test_the_chain_of_a_genesis_fits_cometbft() -> None:
    from zosnet.ledger.comet.signed import chain_name

    assert len(chain_name(genesis_of())) <= 50
