"""What a block replaced, packed into one value: whatever is put in is found, and pages go back by it."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from zosnet._core import fold_page
from zosnet.ledger.engine.undo import UNCHANGED, Rewind, find, pack
from zosnet.ledger.tree import Before, Slot, Tree

#: The last two have one CRC-32.
keys = st.binary(max_size=3) | st.sampled_from([b"plumless", b"buckeroo"])
slots = st.sampled_from([0, 32, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
entries = st.none() | st.lists(st.tuples(st.integers(0, 15), slots), max_size=16)


@given(st.dictionaries(keys, entries, max_size=20), keys)
def test_what_is_packed_is_found(pages: dict[bytes, list[tuple[int, Slot]] | None], key: bytes) -> None:
    packed = pack(pages)
    assert find(io.BytesIO(packed), key) == pages.get(key, UNCHANGED)
    for each, page in pages.items():
        assert find(io.BytesIO(packed), each) == page


changes = st.dictionaries(st.integers(0, 40), st.booleans(), min_size=1, max_size=12)


@given(st.lists(changes, min_size=1, max_size=8))
def test_pages_go_back_through_blocks(blocks: list[dict[int, bool]]) -> None:
    pages: dict[bytes, bytes] = {}
    tree, past, packed = Tree(pages.get, fold=fold_page), [dict(pages)], []
    for number, block in enumerate(blocks):
        records = {b"key %d" % key: b"%d" % number if there else None for key, there in block.items()}
        _, changed = tree.update(records)
        before: Before = tree.before
        packed.append(pack(before))
        assert changed.keys() == before.keys()
        tree.settle()
        for prefix, page in changed.items():
            if page is None:
                pages.pop(prefix, None)
            else:
                pages[prefix] = page
        past.append(dict(pages))
    for prefix in {prefix for one in past for prefix in one}:
        rewind = Rewind(prefix, pages.get(prefix))
        for was, undo in zip(reversed(past[:-1]), reversed(packed), strict=True):
            rewind.back(io.BytesIO(undo))
            assert rewind.page == was.get(prefix)
