"""The client's way from header to header, the forks that it meets, and what it keeps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.light_chain import FOUR, START_NS, LightChain, commit, drive
from tests.ledger.test_light import CHAIN, FIRST, LAST, SECOND, refused

from zosnet.ledger.light.block import LightBlock
from zosnet.ledger.light.canonical import SECOND_NS
from zosnet.ledger.light.client import LightClient, Store
from zosnet.ledger.light.verify import Fork, Trust

# A client.


def test_a_client_starts_from_the_header_that_is_trusted_and_from_no_other() -> None:
    client, hash_ = LightClient(), FIRST.header.hash
    refused("pin", lambda: client.pin(SECOND, 1, hash_, CHAIN.now_ns))
    refused("pin", lambda: client.pin(FIRST, 1, SECOND.header.hash, CHAIN.now_ns))
    forged = commit(FIRST.header, FIRST.validators, absent=[0, 1])
    refused("power", lambda: client.pin(forged, 1, hash_, CHAIN.now_ns))
    refused("expired", lambda: client.pin(FIRST, 1, hash_, CHAIN.now_ns + Trust().period_ns))
    refused("future", lambda: client.pin(FIRST, 1, hash_, START_NS - 60 * SECOND_NS))
    assert client.store.newest is None
    client.pin(FIRST, 1, hash_, CHAIN.now_ns)
    assert client.store.newest == FIRST


def test_a_known_header_is_not_fetched_again() -> None:
    client = CHAIN.client()
    assert drive(client.headers_to(8, CHAIN.now_ns), CHAIN.blocks) == (LAST, [8])
    assert drive(client.headers_to(8, CHAIN.now_ns), {}) == (LAST, [])


def test_a_header_between_known_ones_is_verified_from_below() -> None:
    client = CHAIN.client()
    drive(client.headers_to(8, CHAIN.now_ns), CHAIN.blocks)
    assert drive(client.headers_to(4, CHAIN.now_ns), CHAIN.blocks)[1] == [4]
    assert [block.height for block in client.store] == [1, 4, 8]


def test_a_header_below_all_known_ones_is_refused() -> None:
    refused("height", lambda: drive(CHAIN.client(4).headers_to(3, CHAIN.now_ns), CHAIN.blocks))


def test_another_height_than_was_asked_for_is_refused() -> None:
    swapped = {8: CHAIN.blocks[7]}
    refused("height", lambda: drive(CHAIN.client().headers_to(8, CHAIN.now_ns), swapped))


def test_where_all_validators_change_at_once_the_way_leads_through_that_height() -> None:
    chain = LightChain(100, powers_at=lambda height: FOUR if height < 38 else {7: 1, 8: 1})
    client = chain.client()
    found, asked = drive(client.headers_to(100, chain.now_ns), chain.blocks)
    assert found == chain.blocks[100]
    assert {37, 38} <= set(asked) | {block.height for block in client.store}
    assert len(asked) <= 2 * 7


def test_a_source_that_makes_up_a_chain_is_found_out_in_a_few_steps() -> None:
    false = LightChain(1000, powers_at=lambda height: FOUR if height < 2 else {9: 1}, mark=b"false")
    real = LightChain(2)
    asked: list[int] = []

    class Watched(dict[int, LightBlock]):
        def __getitem__(self, height: int) -> LightBlock:
            asked.append(height)
            return super().__getitem__(height)

    refused(
        "next validators", lambda: drive(real.client().headers_to(1000, false.now_ns), Watched(false.blocks))
    )
    assert len(asked) <= 11


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_way_is_found_whatever_validators_do(data: st.DataObject) -> None:
    top = data.draw(st.integers(2, 24))
    powers = st.dictionaries(st.integers(0, 9), st.integers(1, 5), min_size=1, max_size=5)
    schedule = data.draw(st.lists(powers, min_size=top + 1, max_size=top + 1))
    chain = LightChain(top, powers_at=lambda height: schedule[height - 1])
    start = data.draw(st.integers(1, top - 1))
    client = chain.client(start)
    found, asked = drive(client.headers_to(top, chain.now_ns), chain.blocks)
    assert found == chain.blocks[top]
    assert len(asked) == len(set(asked)) <= top - start
    assert all(start < height <= top for height in asked)
    for block in client.store:
        assert block == chain.blocks[block.height]


# Forks.


def forked(at: int = 5) -> LightChain:
    return LightChain(mark=b"other", like=CHAIN, until=at - 1)


def test_two_signed_headers_of_one_height_end_all_trust() -> None:
    client, other = CHAIN.client(), forked()
    drive(client.headers_to(8, CHAIN.now_ns), CHAIN.blocks)
    with pytest.raises(Fork, match="two signed headers of height 8") as found:
        drive(client.headers_to(8, CHAIN.now_ns, witness=True), other.blocks)
    assert {found.value.first, found.value.second} == {LAST, other.blocks[8]}
    for height in (1, 7, 8):
        with pytest.raises(Fork):
            drive(client.headers_to(height, CHAIN.now_ns), CHAIN.blocks)


def test_a_witness_who_sees_the_same_chain_agrees() -> None:
    client = CHAIN.client()
    drive(client.headers_to(8, CHAIN.now_ns), CHAIN.blocks)
    assert drive(client.headers_to(8, CHAIN.now_ns, witness=True), CHAIN.blocks) == (LAST, [8])
    assert drive(client.headers_to(1, CHAIN.now_ns, witness=True), CHAIN.blocks) == (FIRST, [1])


def test_a_witness_of_a_chain_that_parted_earlier_is_evidence_too() -> None:
    """Its validators changed after that, so nothing links its last header to the newest ones known here."""
    other = LightChain(powers_at=lambda height: FOUR if height < 6 else {0: 1, 7: 9}, like=CHAIN, until=4)
    client = CHAIN.client()
    for height in range(2, 9):
        drive(client.headers_to(height, CHAIN.now_ns), CHAIN.blocks)
    with pytest.raises(Fork, match="two signed headers of height"):
        drive(client.headers_to(8, CHAIN.now_ns, witness=True), other.blocks)


def test_neighbours_that_do_not_fit_are_a_fork() -> None:
    client, other = CHAIN.client(), forked()
    drive(client.headers_to(6, CHAIN.now_ns), CHAIN.blocks)
    with pytest.raises(Fork, match="follows"):
        drive(client.headers_to(5, CHAIN.now_ns), other.blocks)
    client = CHAIN.client(5)
    with pytest.raises(Fork, match="follows"):
        drive(client.headers_to(6, CHAIN.now_ns), other.blocks)


def test_a_forged_header_is_no_evidence() -> None:
    client = CHAIN.client()
    drive(client.headers_to(8, CHAIN.now_ns), CHAIN.blocks)
    block = forked().blocks[8]
    forged = {8: commit(block.header, block.validators, absent=[0, 1])}
    refused("power", lambda: drive(client.headers_to(8, CHAIN.now_ns, witness=True), forged))
    assert drive(client.headers_to(8, CHAIN.now_ns), {})[0] == LAST
    first = {1: LightChain(mark=b"other").blocks[1]}
    refused("pin", lambda: drive(client.headers_to(1, CHAIN.now_ns, witness=True), first))


# A store.


def test_a_store_forgets_the_lowest() -> None:
    store = Store(limit=3)
    for height in (1, 2, 3, 4):
        store.add(CHAIN.blocks[height])
    assert [block.height for block in store] == [2, 3, 4]
    assert (store.at(1), store.at(2), store.newest) == (None, CHAIN.blocks[2], CHAIN.blocks[4])
    assert (store.below(2), store.below(3)) == (None, CHAIN.blocks[2])
    store.add(FIRST)
    assert [block.height for block in store] == [1, 3, 4]
