"""The authenticated tree: one hash over all records, and proofs that one is there, or is not.

A compact sparse Merkle tree, as Diem's "Jellyfish" tree and the Celestia SMT have it, with SHA-256:

    path     H(key)                          a record's place: its 256 bits, the highest first, from the root
    leaf     H(00 ‖ path ‖ H(value))
    node     H(01 ‖ left ‖ right)
    empty    32 zero bytes

A subtree with a single leaf is that leaf, wherever it is, so a tree of n records is about log2 n deep. Nodes
are grouped in pages of four levels: a page holds the 16 subtrees below it, and the hashes between them are
computed when they are wanted. Only pages that a block touched are written, once a block.

    page     leaves (U16, bit 15 for subtree 0) ‖ nodes (U16) ‖ for each subtree that is a leaf its path and
             H(value), for each that is a node its hash
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from zosnet.ledger.encoding import Bytes32, Many, Maybe

__all__ = ["EMPTY", "Before", "Fold", "Proof", "Tree", "fold", "prove", "verify"]

EMPTY = bytes(32)

Slot = bytes
"""A subtree at the foot of a page: no bytes, a leaf (path ‖ H(value), 64 bytes) or a node (a hash, 32)."""

Load = Callable[[bytes], bytes | None]
"""The bytes of the page at a prefix, one nibble a byte; None where there is none."""

Fold = Callable[[bytes, list[tuple[int, Slot]]], tuple[bytes, Slot]]
"""Put subtrees into places of a page: its new bytes, and the subtree above it. `fold`, or as good."""

Before = dict[bytes, list[tuple[int, Slot]] | None]
"""By its prefix, which subtrees a page had before a change, all where it is gone; None: there was no page."""

_LEAF, _NODE = 64, 32
_NO_PAGE = bytes(4)


def path_of(key: bytes) -> bytes:
    """A record's place."""
    return sha256(key).digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf, given as path ‖ H(value)."""
    return sha256(b"\x00" + leaf).digest()


def _hash(slot: Slot) -> bytes:
    return leaf_hash(slot) if len(slot) == _LEAF else slot or EMPTY


def _above(left: Slot, right: Slot) -> Slot:
    """The subtree above two: nothing, the one leaf, or a node."""
    if not left and len(right) != _NODE:
        return right
    if not right and len(left) != _NODE:
        return left
    return sha256(b"\x01" + _hash(left) + _hash(right)).digest()


def heap_of(raw: bytes) -> list[Slot]:
    """A page's subtrees, the top at 1, below a place n are 2n and 2n + 1, the foot is 16 to 31."""
    leaves, nodes, at = int.from_bytes(raw[:2]), int.from_bytes(raw[2:4]), 4
    heap: list[Slot] = [b""] * 16
    for bit in range(15, -1, -1):
        size = _LEAF if leaves >> bit & 1 else _NODE if nodes >> bit & 1 else 0
        heap.append(raw[at : at + size])
        at += size
    for place in range(15, 0, -1):
        heap[place] = _above(heap[2 * place], heap[2 * place + 1])
    return heap


def slot_of(raw: bytes, place: int) -> Slot:
    """The subtree at one of the 16 places of a page's foot."""
    leaves, nodes = int.from_bytes(raw[:2]), int.from_bytes(raw[2:4])
    before, bit = 16 - place, 15 - place
    size = _LEAF if leaves >> bit & 1 else _NODE if nodes >> bit & 1 else 0
    at = 4 + _LEAF * (leaves >> before).bit_count() + _NODE * (nodes >> before).bit_count()
    return raw[at : at + size]


def fold(raw: bytes, changes: list[tuple[int, Slot]]) -> tuple[bytes, Slot]:
    """Put subtrees into places of a page: its new bytes, and the subtree above it.

    `zosnet._core.fold_page` is the same and faster; an engine gives it to its tree.
    """
    foot = heap_of(raw)[16:]
    for place, slot in changes:
        foot[place] = slot
    leaves = sum(0x8000 >> place for place, slot in enumerate(foot) if len(slot) == _LEAF)
    nodes = sum(0x8000 >> place for place, slot in enumerate(foot) if len(slot) == _NODE)
    page = (leaves << 16 | nodes).to_bytes(4) + b"".join(foot)
    return page, heap_of(page)[1]


class Tree:
    """The tree over pages that an engine keeps. `update`, then `settle` once they are kept, or `abandon`."""

    def __init__(self, load: Load, *, fold: Fold = fold, cache: int = 48_000) -> None:
        self._load = load
        self._fold = fold
        self._limit = cache
        self._cache: dict[bytes, bytes] = {}
        self._dirty: dict[bytes, bytes | None] = {}
        self.before: Before = {}  #: what the pages of `update` were, until `settle`

    @property
    def root(self) -> bytes:
        """The hash over everything."""
        return _hash(self._fold(self._page(b""), [])[1])

    def update(self, changes: dict[bytes, bytes | None]) -> tuple[bytes, dict[bytes, bytes | None]]:
        """Put (None: remove) records by key: the new root, and the pages to keep (None: to delete)."""
        leaves = sorted(
            (path_of(key), None if value is None else sha256(value).digest())
            for key, value in changes.items()
        )
        if leaves:
            self._change(b"", self._page(b""), leaves)
        return self.root, dict(sorted(self._dirty.items()))

    def settle(self) -> None:
        """The pages are kept."""
        for prefix, page in self._dirty.items():
            if page is None:
                self._cache.pop(prefix, None)
            else:
                self._remember(prefix, page)
        self.abandon()

    def abandon(self) -> None:
        """The pages are not kept: all is as before `update`."""
        self._dirty.clear()
        self.before = {}

    def forget(self) -> None:
        """Pages that were thought kept are lost after all: only what can be loaded counts."""
        self.abandon()
        self._cache.clear()

    def _page(self, prefix: bytes) -> bytes:
        """The page at `prefix`; an empty one where there is none."""
        if prefix in self._dirty:
            return self._dirty[prefix] or _NO_PAGE
        found = self._cache.get(prefix)
        if found is None:
            found = self._load(prefix) or _NO_PAGE
            self._remember(prefix, found)
        return found

    def _remember(self, prefix: bytes, page: bytes) -> None:
        # The deep pages go first when room is needed: the upper ones are on everybody's way.
        if len(self._cache) >= self._limit and prefix not in self._cache:
            for old in sorted(self._cache, key=len)[self._limit * 3 // 4 :]:
                del self._cache[old]
        self._cache[prefix] = page

    def _change(self, prefix: bytes, page: bytes, leaves: list[tuple[bytes, bytes | None]]) -> Slot:
        """Sorted changes worked into the page at `prefix`: the subtree above it, for its parent.

        The page is kept where that is a node, the uppermost one also with a single leaf.
        """
        changed: list[tuple[int, Slot]] = []
        were: list[tuple[int, Slot]] = []
        for nibble, group in _by_nibble(leaves, len(prefix)):
            slot = slot_of(page, nibble)
            were.append((nibble, slot))
            if len(slot) == _NODE:
                below = prefix + bytes([nibble])
                changed.append((nibble, self._change(below, self._page(below), group)))
                continue
            if slot and all(path != slot[:32] for path, _ in group):
                group.append((slot[:32], slot[32:]))
                group.sort()
            present = [(path, value) for path, value in group if value is not None]
            if len(present) > 1:
                below = prefix + bytes([nibble])
                changed.append((nibble, self._change(below, _NO_PAGE, list(present))))
            else:
                changed.append((nibble, present[0][0] + present[0][1] if present else b""))
        new, top = self._fold(page, changed)
        is_kept = len(top) == _NODE or (top and not prefix)
        self._dirty[prefix] = new if is_kept else None
        if page == _NO_PAGE:
            self.before[prefix] = None
        else:
            self.before[prefix] = were if is_kept else [(place, slot_of(page, place)) for place in range(16)]
        return top


def _by_nibble(
    leaves: list[tuple[bytes, bytes | None]], depth: int
) -> Iterable[tuple[int, list[tuple[bytes, bytes | None]]]]:
    byte, shift = depth >> 1, 0 if depth & 1 else 4
    if len(leaves) == 1:
        return ((leaves[0][0][byte] >> shift & 15, leaves),)
    groups: dict[int, list[tuple[bytes, bytes | None]]] = {}
    for leaf in leaves:
        groups.setdefault(leaf[0][byte] >> shift & 15, []).append(leaf)
    return groups.items()


@dataclass(frozen=True, slots=True)
class Other:
    """A leaf that is where another was looked for."""

    path: Bytes32
    value: Bytes32  #: H(value)


@dataclass(frozen=True, slots=True)
class Proof:
    """The hashes beside a record's way, from the root down; `other`: the leaf that is there in its stead."""

    siblings: Annotated[tuple[bytes, ...], Many(Bytes32, 256)]
    other: Annotated[Other | None, Maybe(Other)] = None


def prove(load: Load, key: bytes) -> Proof:
    """That the record of `key` is, or isn't, in the tree whose pages `load` gives."""
    path = path_of(key)
    siblings: list[bytes] = []
    for depth in range(64):
        prefix = bytes(path[n >> 1] >> (0 if n & 1 else 4) & 15 for n in range(depth))
        page, place = heap_of(load(prefix) or _NO_PAGE), 1
        nibble = path[depth >> 1] >> (0 if depth & 1 else 4) & 15
        for level in range(5):
            here = page[place]
            if len(here) != _NODE:
                return _ended(path, siblings, here)
            if level < 4:
                place = 2 * place + (nibble >> (3 - level) & 1)
                siblings.append(_hash(page[place ^ 1]))
    raise ValueError("the pages are no tree")


def _ended(path: bytes, siblings: list[bytes], leaf: Slot) -> Proof:
    if not leaf or leaf[:32] == path:
        return Proof(tuple(siblings))
    return Proof(tuple(siblings), Other(leaf[:32], leaf[32:]))


def verify(root: bytes, key: bytes, value: bytes | None, proof: Proof) -> bool:
    """Whether `proof` shows that under `root` the record of `key` is `value` (None: is absent)."""
    path, depth = path_of(key), len(proof.siblings)
    place = int.from_bytes(path)
    if proof.other is None:
        here = EMPTY if value is None else leaf_hash(path + sha256(value).digest())
    else:
        other = int.from_bytes(proof.other.path)
        if value is not None or proof.other.path == path or (place ^ other) >> (256 - depth):
            return False
        here = leaf_hash(proof.other.path + proof.other.value)
    for level in range(depth - 1, -1, -1):
        beside = proof.siblings[level]
        both = beside + here if place >> (255 - level) & 1 else here + beside
        here = sha256(b"\x01" + both).digest()
    return here == root
