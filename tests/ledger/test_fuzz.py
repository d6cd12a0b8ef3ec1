"""What comes from outside, bent at random: refused, or exactly what its bytes say; never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.chain import Chain
from tests.ledger.test_vectors import FILE

from zosnet.ledger.encoding import Malformed, decode, encode
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import SignedHeader, trouble_of
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import Proof

WRITTEN = json.loads(FILE.read_text())
HEADERS = [bytes.fromhex(block["header"]) for block in WRITTEN["blocks"]]
TRANSACTIONS = [bytes.fromhex(raw) for block in WRITTEN["blocks"] for raw in block["transactions"]]
PROOFS = [bytes.fromhex(each["proof"]) for each in WRITTEN["proofs"]]
GENESIS = bytes.fromhex(WRITTEN["genesis"])


@st.composite
def bent(draw: st.DrawFn, sources: list[bytes]) -> bytes:
    """One of these with some bytes changed, put in or taken out."""
    raw = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        match draw(st.sampled_from(["change", "insert", "cut", "end"])):
            case "change":
                raw[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "insert":
                raw[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "cut":
                del raw[at : at + draw(st.integers(1, 4))]
            case _:
                del raw[at:]
    return bytes(raw)


Parse = Callable[[bytes], Any]
DECODERS: list[tuple[str, list[bytes], Parse, Callable[[Any], bytes]]] = [
    ("transaction", TRANSACTIONS, SignedTransaction.parse, lambda value: value.raw),
    ("header", HEADERS, SignedHeader.parse, lambda value: value.raw),
    ("proof", PROOFS, lambda raw: decode(Proof, raw), encode),
    ("genesis", [GENESIS], lambda raw: decode(Genesis, raw), encode),
]


@pytest.mark.parametrize(("name", "sources", "parse", "write"), DECODERS)
def test_a_decoder_refuses_or_reads_exactly(
    name: str, sources: list[bytes], parse: Parse, write: Callable[[Any], bytes]
) -> None:
    @settings(max_examples=300)
    @given(bent(sources) | st.binary(max_size=300))
    def run(raw: bytes) -> None:
        try:
            value = parse(raw)
        except Malformed:
            return
        assert write(value) == raw
        if isinstance(value, SignedTransaction):
            assert encode(value.transaction) == value.body

    run()


@settings(max_examples=200)
@given(bent(HEADERS))
def test_a_bent_header_is_nobodys(raw: bytes) -> None:
    genesis = decode(Genesis, GENESIS)
    try:
        header = SignedHeader.parse(raw)
    except Malformed:
        return
    assert raw in HEADERS or trouble_of(genesis, header)


@settings(max_examples=200)
@given(bent(TRANSACTIONS))
def test_a_bent_transaction_changes_nothing(raw: bytes) -> None:
    chain = Chain(decode(Genesis, GENESIS))
    chain.block()
    before = dict(chain.records)
    try:
        signed = SignedTransaction.parse(raw)
    except Malformed:
        return
    (result,) = chain.block([signed], after_ms=1)
    assert raw in TRANSACTIONS or (not result.is_done and chain.records == before)
