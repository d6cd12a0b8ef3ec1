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

__all__ = ["EMPTY", "Page", "Proof", "Tree", "prove", "verify"]

EMPTY = bytes(32)

Slot = bytes | None
"""A subtree at the foot of a page: None, a leaf (path ‖ H(value), 64 bytes) or a node (a hash, 32)."""

Page = list[Slot]
Load = Callable[[bytes], bytes | None]
"""The bytes of the page at a prefix, one nibble a byte; None where there is none."""

_LEAF, _NODE = 64, 32


def path_of(key: bytes) -> bytes:
    """A record's place."""
    return sha256(key).digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf, given as path ‖ H(value)."""
    return sha256(b"\x00" + leaf).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _pair(left: Slot, right: Slot) -> Slot:
    """The subtree above two: nothing, the one leaf, or a node."""
    if left is None:
        if right is None or len(right) == _LEAF:
            return right
        return _node_hash(EMPTY, right)
    if right is None:
        return left if len(left) == _LEAF else _node_hash(left, EMPTY)
    return _node_hash(_hash(left), _hash(right))


def _hash(slot: Slot) -> bytes:
    if slot is None:
        return EMPTY
    return slot if len(slot) == _NODE else leaf_hash(slot)


def _levels(page: Page) -> list[list[Slot]]:
    """The five levels of a page, its top first."""
    levels: list[list[Slot]] = [page]
    while len(levels[0]) > 1:
        below = levels[0]
        levels.insert(0, [_pair(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def _top(page: Page) -> Slot:
    level: list[Slot] = page
    while len(level) > 1:
        level = [_pair(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def encode_page(page: Page) -> bytes:
    """The bytes of a page."""
    leaves = nodes = 0
    for slot in page:
        leaves, nodes = leaves << 1, nodes << 1
        if slot is not None:
            leaves, nodes = leaves | (len(slot) == _LEAF), nodes | (len(slot) == _NODE)
    return leaves.to_bytes(2) + nodes.to_bytes(2) + b"".join(slot for slot in page if slot is not None)


def decode_page(raw: bytes) -> Page:
    """A page from its bytes, which are our own."""
    leaves, nodes, at = int.from_bytes(raw[:2]), int.from_bytes(raw[2:4]), 4
    page: Page = []
    for bit in range(15, -1, -1):
        size = _LEAF if leaves >> bit & 1 else _NODE if nodes >> bit & 1 else 0
        page.append(raw[at : at + size] if size else None)
        at += size
    return page


class Tree:
    """The tree over pages that an engine keeps. `update`, then `settle` once they are kept, or `abandon`."""

    def __init__(self, load: Load, *, cache: int = 20_000) -> None:
        self._load = load
        self._limit = cache
        self._cache: dict[bytes, Page] = {}
        self._dirty: dict[bytes, Page | None] = {}

    @property
    def root(self) -> bytes:
        """The hash over everything."""
        return _hash(_top(self._page(b"")))

    def update(self, changes: dict[bytes, bytes | None]) -> tuple[bytes, dict[bytes, bytes | None]]:
        """Put (None: remove) records by key: the new root, and the pages to keep (None: to delete)."""
        leaves = sorted(
            (path_of(key), None if value is None else sha256(value).digest())
            for key, value in changes.items()
        )
        if leaves:
            page = self._change(b"", list(self._page(b"")), leaves)
            self._dirty[b""] = page if any(slot is not None for slot in page) else None
        pages = {
            prefix: None if page is None else encode_page(page)
            for prefix, page in sorted(self._dirty.items())
        }
        return self.root, pages

    def settle(self) -> None:
        """The pages are kept."""
        for prefix, page in self._dirty.items():
            if page is None:
                self._cache.pop(prefix, None)
            else:
                self._remember(prefix, page)
        self._dirty.clear()

    def abandon(self) -> None:
        """The pages are not kept: all is as before `update`."""
        self._dirty.clear()

    def _page(self, prefix: bytes) -> Page:
        """The page at `prefix`, not to be changed; an empty one where there is none."""
        if prefix in self._dirty:
            return self._dirty[prefix] or [None] * 16
        found = self._cache.get(prefix)
        if found is None:
            raw = self._load(prefix)
            found = [None] * 16 if raw is None else decode_page(raw)
            self._remember(prefix, found)
        return found

    def _remember(self, prefix: bytes, page: Page) -> None:
        # The deep pages go first when room is needed: the upper ones are on everybody's way.
        if len(self._cache) >= self._limit and prefix not in self._cache:
            for old in sorted(self._cache, key=len)[self._limit * 3 // 4 :]:
                del self._cache[old]
        self._cache[prefix] = page

    def _change(self, prefix: bytes, page: Page, leaves: list[tuple[bytes, bytes | None]]) -> Page:
        """Work sorted changes into `page`, which is at `prefix` and may be changed."""
        for nibble, group in _by_nibble(leaves, len(prefix)):
            below, slot = prefix + bytes([nibble]), page[nibble]
            if slot is not None and len(slot) == _NODE:
                child = self._change(below, list(self._page(below)), group)
                page[nibble] = self._fold(below, child)
                continue
            if slot is not None and all(path != slot[:32] for path, _ in group):
                group.append((slot[:32], slot[32:]))
                group.sort()
            present = [(path, value) for path, value in group if value is not None]
            if len(present) <= 1:
                page[nibble] = present[0][0] + present[0][1] if present else None
            else:
                page[nibble] = self._fold(below, self._change(below, [None] * 16, list(present)))
        return page

    def _fold(self, prefix: bytes, page: Page) -> Slot:
        """Keep a changed page, or take it away where a single leaf or nothing is left; its parent's slot."""
        used = [slot for slot in page if slot is not None]
        if not used or (len(used) == 1 and len(used[0]) == _LEAF):
            self._dirty[prefix] = None
            return used[0] if used else None
        self._dirty[prefix] = page
        return _top(page)


def _by_nibble(
    leaves: list[tuple[bytes, bytes | None]], depth: int
) -> Iterable[tuple[int, list[tuple[bytes, bytes | None]]]]:
    byte, shift = depth >> 1, 0 if depth & 1 else 4
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
        raw = load(prefix)
        levels = _levels([None] * 16 if raw is None else decode_page(raw))
        nibble = path[depth >> 1] >> (0 if depth & 1 else 4) & 15
        for level in range(5):
            here = levels[level][nibble >> (4 - level)]
            if here is None or len(here) == _LEAF:
                return _ended(path, siblings, here)
            if level < 4:
                siblings.append(_hash(levels[level + 1][nibble >> (3 - level) ^ 1]))
    raise ValueError("the pages are no tree")


def _ended(path: bytes, siblings: list[bytes], leaf: Slot) -> Proof:
    if leaf is None or leaf[:32] == path:
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
        here = _node_hash(beside, here) if place >> (255 - level) & 1 else _node_hash(here, beside)
    return here == root
