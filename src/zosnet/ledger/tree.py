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
"""A page's subtrees as a heap: the top at 1, below a place n are 2n and 2n + 1, the foot is 16 to 31."""

Load = Callable[[bytes], bytes | None]
"""The bytes of the page at a prefix, one nibble a byte; None where there is none."""

_LEAF, _NODE = 64, 32


def path_of(key: bytes) -> bytes:
    """A record's place."""
    return sha256(key).digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf, given as path ‖ H(value)."""
    return sha256(b"\x00" + leaf).digest()


def _pair(left: Slot, right: Slot) -> Slot:
    """The subtree above two: nothing, the one leaf, or a node."""
    if left is None:
        if right is None or len(right) == _LEAF:
            return right
        return sha256(b"\x01" + EMPTY + right).digest()
    if right is None:
        return left if len(left) == _LEAF else sha256(b"\x01" + left + EMPTY).digest()
    if len(left) == _LEAF:
        left = leaf_hash(left)
    if len(right) == _LEAF:
        right = leaf_hash(right)
    return sha256(b"\x01" + left + right).digest()


def _hash(slot: Slot) -> bytes:
    if slot is None:
        return EMPTY
    return slot if len(slot) == _NODE else leaf_hash(slot)


def _heap(slots: list[Slot]) -> Page:
    """A page with all its hashes."""
    page: Page = [*[None] * 16, *slots]
    for place in range(15, 0, -1):
        page[place] = _pair(page[2 * place], page[2 * place + 1])
    return page


def _refresh(page: Page, changed: list[int]) -> None:
    """Compute the hashes above these places of a page anew, and no others."""
    if len(changed) == 1:
        place = changed[0]
        while place > 1:
            place >>= 1
            page[place] = _pair(page[2 * place], page[2 * place + 1])
        return
    places = set(changed)
    while places != {1}:
        places = {place >> 1 for place in places}
        for place in places:
            page[place] = _pair(page[2 * place], page[2 * place + 1])


def encode_page(page: Page) -> bytes:
    """The bytes of a page."""
    leaves = nodes = 0
    slots: list[bytes] = []
    bit = 0x8000
    for slot in page[16:]:
        if slot is not None:
            slots.append(slot)
            if len(slot) == _LEAF:
                leaves |= bit
            else:
                nodes |= bit
        bit >>= 1
    return (leaves << 16 | nodes).to_bytes(4) + b"".join(slots)


def decode_page(raw: bytes | None) -> Page:
    """A page from its bytes, which are our own; an empty one where there are none."""
    if raw is None:
        return [None] * 32
    leaves, nodes, at = int.from_bytes(raw[:2]), int.from_bytes(raw[2:4]), 4
    slots: list[Slot] = []
    for bit in range(15, -1, -1):
        size = _LEAF if leaves >> bit & 1 else _NODE if nodes >> bit & 1 else 0
        slots.append(raw[at : at + size] if size else None)
        at += size
    return _heap(slots)


class Tree:
    """The tree over pages that an engine keeps. `update`, then `settle` once they are kept, or `abandon`."""

    def __init__(self, load: Load, *, cache: int = 16_000) -> None:
        self._load = load
        self._limit = cache
        self._cache: dict[bytes, Page] = {}
        self._dirty: dict[bytes, Page | None] = {}

    @property
    def root(self) -> bytes:
        """The hash over everything."""
        return _hash(self._page(b"")[1])

    def update(self, changes: dict[bytes, bytes | None]) -> tuple[bytes, dict[bytes, bytes | None]]:
        """Put (None: remove) records by key: the new root, and the pages to keep (None: to delete)."""
        leaves = sorted(
            (path_of(key), None if value is None else sha256(value).digest())
            for key, value in changes.items()
        )
        if leaves:
            page = self._change(b"", list(self._page(b"")), leaves)
            self._dirty[b""] = None if page[1] is None else page
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
            return self._dirty[prefix] or [None] * 32
        found = self._cache.get(prefix)
        if found is None:
            found = decode_page(self._load(prefix))
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
        changed: list[int] = []
        for nibble, group in _by_nibble(leaves, len(prefix)):
            below, place = prefix + bytes([nibble]), 16 + nibble
            slot = page[place]
            changed.append(place)
            if slot is not None and len(slot) == _NODE:
                page[place] = self._fold(below, self._change(below, list(self._page(below)), group))
                continue
            if slot is not None and all(path != slot[:32] for path, _ in group):
                group.append((slot[:32], slot[32:]))
                group.sort()
            present = [(path, value) for path, value in group if value is not None]
            if len(present) <= 1:
                page[place] = present[0][0] + present[0][1] if present else None
            else:
                page[place] = self._fold(below, self._change(below, [None] * 32, list(present)))
        _refresh(page, changed)
        return page

    def _fold(self, prefix: bytes, page: Page) -> Slot:
        """Keep a changed page, or take it away where a single leaf or nothing is left; its parent's slot."""
        top = page[1]
        self._dirty[prefix] = None if top is None or len(top) == _LEAF else page
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
        page, place = decode_page(load(prefix)), 1
        nibble = path[depth >> 1] >> (0 if depth & 1 else 4) & 15
        for level in range(5):
            here = page[place]
            if here is None or len(here) == _LEAF:
                return _ended(path, siblings, here)
            if level < 4:
                place = 2 * place + (nibble >> (3 - level) & 1)
                siblings.append(_hash(page[place ^ 1]))
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
        both = beside + here if place >> (255 - level) & 1 else here + beside
        here = sha256(b"\x01" + both).digest()
    return here == root
