"""What a block replaced, packed into one value: whatever is put in is found, and nothing else."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from zosnet.ledger.engine.undo import UNCHANGED, find, pack

#: The last two have one CRC-32.
keys = st.binary(max_size=3) | st.sampled_from([b"plumless", b"buckeroo"])


@given(st.dictionaries(keys, st.none() | st.binary(max_size=40), max_size=20), keys)
def test_what_is_packed_is_found(pages: dict[bytes, bytes | None], key: bytes) -> None:
    packed = pack(pages)
    assert find(io.BytesIO(packed), key) == pages.get(key, UNCHANGED)
    for each, page in pages.items():
        assert find(io.BytesIO(packed), each) == page
