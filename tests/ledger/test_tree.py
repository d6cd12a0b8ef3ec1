"""The tree against a plain recursive one, and its proofs against every change of a bit."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zosnet._core import fold_page
from zosnet.ledger.encoding import Malformed, decode, encode
from zosnet.ledger.tree import EMPTY, Fold, Proof, Tree, fold, prove, verify


def plain(records: dict[bytes, bytes]) -> bytes:
    """The definition, as it is written in the documentation."""
    leaves = {
        int.from_bytes(sha256(key).digest()): sha256(
            b"\x00" + sha256(key).digest() + sha256(value).digest()
        ).digest()
        for key, value in records.items()
    }

    def subtree(paths: list[int], depth: int) -> bytes:
        if not paths:
            return EMPTY
        if len(paths) == 1:
            return leaves[paths[0]]
        right = [path for path in paths if path >> (255 - depth) & 1]
        left = [path for path in paths if not path >> (255 - depth) & 1]
        return sha256(b"\x01" + subtree(left, depth + 1) + subtree(right, depth + 1)).digest()

    return subtree(sorted(leaves), 0)


#: The readable one, and the fast one.
FOLDS: list[Fold] = [fold, fold_page]

slots = st.sampled_from([0, 32, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@given(st.lists(st.lists(st.tuples(st.integers(0, 15), slots), max_size=20), max_size=4))
def test_both_ways_to_fold_a_page_agree(rounds: list[list[tuple[int, bytes]]]) -> None:
    page = b""
    for changes in rounds:
        here = fold(page, changes)
        assert here == fold_page(page, changes)
        page = here[0]


@given(st.binary(max_size=70), st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=70)), max_size=3))
def test_bytes_that_are_no_page_are_refused(raw: bytes, changes: list[tuple[int, bytes]]) -> None:
    try:
        page, top = fold_page(raw, changes)
    except ValueError:
        return
    assert fold_page(page, []) == (page, top) and len(top) in (0, 32, 64)


class Kept:
    """A tree and the pages that are kept for it."""

    def __init__(self, cache: int = 20_000, fold: Fold = fold) -> None:
        self.pages: dict[bytes, bytes] = {}
        self.records: dict[bytes, bytes] = {}
        self.tree = Tree(self.pages.get, cache=cache, fold=fold)

    def change(self, changes: dict[bytes, bytes | None]) -> bytes:
        root, pages = self.tree.update(changes)
        for prefix, raw in pages.items():
            if raw is None:
                self.pages.pop(prefix, None)
            else:
                self.pages[prefix] = raw
        for key, value in changes.items():
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
        self.tree.settle()
        return root


keys = st.integers(0, 60).map(lambda number: b"key %d" % number)
blocks = st.lists(st.dictionaries(keys, st.none() | st.binary(max_size=3), max_size=40), max_size=6)


@pytest.mark.parametrize("fold", FOLDS)
@settings(max_examples=60)
@given(blocks=blocks)
def test_the_root_is_that_of_the_definition_whatever_the_history(
    fold: Fold, blocks: list[dict[bytes, bytes | None]]
) -> None:
    kept = Kept(cache=4, fold=fold)
    for changes in blocks:
        assert kept.change(changes) == plain(kept.records) == kept.tree.root
    again = Kept()
    again.change(dict(kept.records))
    assert again.pages == kept.pages


@settings(max_examples=60)
@given(st.dictionaries(keys, st.binary(max_size=3), max_size=40), keys, st.data())
def test_a_proof_shows_what_is_and_what_is_not(
    records: dict[bytes, bytes], key: bytes, data: st.DataObject
) -> None:
    kept = Kept()
    root = kept.change(dict(records))
    proof = prove(kept.pages.get, key)
    value = records.get(key)
    assert verify(root, key, value, proof) and decode(Proof, encode(proof)) == proof
    assert not verify(root, key, b"other" if value is None else None, proof)
    assert not verify(root, key, b"other", proof)
    raw = bytearray(encode(proof))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        bent = decode(Proof, bytes(raw))
    except Malformed:
        return
    assert not verify(root, key, value, bent)


def test_a_proof_bent_anywhere_fails() -> None:
    kept = Kept()
    root = kept.change({b"%d" % number: b"value" for number in range(200)})
    for key in (b"7", b"absent", b"also absent"):
        value = kept.records.get(key)
        raw = encode(prove(kept.pages.get, key))
        for bit in range(len(raw) * 8):
            bent = bytearray(raw)
            bent[bit // 8] ^= 1 << bit % 8
            try:
                proof = decode(Proof, bytes(bent))
            except Malformed:
                continue
            assert not verify(root, key, value, proof)
        assert not verify(bytes(32), key, value, decode(Proof, raw))


def test_absence_is_not_proven_by_a_leaf_of_elsewhere() -> None:
    kept = Kept()
    root = kept.change({b"a": b"1", b"b": b"2", b"c": b"3"})
    for key in (b"a", b"b", b"c"):
        for stranger in (b"a", b"b", b"c", b"d", b"e", b"f"):
            proof = prove(kept.pages.get, stranger)
            assert not verify(root, key, None, proof)


def test_a_large_history_ends_as_if_it_had_been_written_at_once() -> None:
    kept, draw = Kept(cache=50), random.Random(1)
    for _ in range(60):
        kept.change(
            {
                b"%d" % draw.randrange(3000): None if draw.random() < 0.4 else b"%d" % draw.randrange(9)
                for _ in range(100)
            }
        )
    assert kept.tree.root == plain(kept.records)
    again = Kept()
    again.change(dict(kept.records))
    assert again.pages == kept.pages
    for one in FOLDS:
        assert all(one(raw, [])[0] == raw for raw in kept.pages.values())
    kept.change(dict.fromkeys(kept.records))
    assert kept.tree.root == EMPTY and not kept.pages


def test_what_is_abandoned_leaves_nothing() -> None:
    kept = Kept()
    root = kept.change({b"a": b"1", b"b": b"2"})
    other, _ = kept.tree.update({b"c": b"3", b"a": None})
    assert other != root
    kept.tree.abandon()
    assert kept.tree.root == root and kept.change({}) == root


@pytest.mark.parametrize(
    ("records", "root"),
    [
        ({}, "0000000000000000000000000000000000000000000000000000000000000000"),
        ({b"a": b"1"}, "565388d4bc00257133f799d9366ac97f6e949c18acc53d17457f8859ba0f08d3"),
        (
            {b"a": b"1", b"b": b"2", b"c": b"3"},
            "8e2a164a410203f51300d7c6645b7a37f549768457be109acc126c63573a9e0a",
        ),
    ],
)
def test_vectors(records: dict[bytes, bytes], root: str) -> None:
    assert Kept().change(dict(records)).hex() == plain(records).hex() == root
