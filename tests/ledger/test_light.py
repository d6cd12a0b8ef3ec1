"""Whom the light client believes, and everybody whom it doesn't."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.light_chain import (
    CHAIN_ID,
    FOUR,
    LightChain,
    Powers,
    commit,
    signer,
    validators,
)

from zosnet.ledger.light.answer import believe
from zosnet.ledger.light.block import MOST_POWER, Flag, LightBlock, Validator, Validators
from zosnet.ledger.light.canonical import SECOND_NS
from zosnet.ledger.light.client import Store
from zosnet.ledger.light.verify import Reason, Trust, Untrusted, check_block, check_commit, verify
from zosnet.ledger.tree import Tree, prove
from zosnet.model.errors import UsageError

CHAIN = LightChain()
FIRST, SECOND, LAST = CHAIN.blocks[1], CHAIN.blocks[2], CHAIN.blocks[8]


def judge(block: LightBlock, trusted: LightBlock = FIRST, now_ns: int = CHAIN.now_ns, **trust: Any) -> None:
    verify(trusted.header, trusted.validators, block, now_ns, Trust(**trust))


def refused(reason: Reason, do: Callable[[], object]) -> Untrusted:
    with pytest.raises(Untrusted) as no:
        do()
    assert no.value.reason == reason
    return no.value


def signed_anew(block: LightBlock, **changes: Any) -> LightBlock:
    """A header with other fields that its validators really signed."""
    return commit(replace(block.header, **changes), block.validators)


# Who is believed.


def test_an_adjacent_header_and_a_later_one_are_believed() -> None:
    judge(SECOND)
    judge(LAST)


def test_more_than_two_thirds_are_enough() -> None:
    judge(commit(SECOND.header, SECOND.validators, absent=[0]))
    judge(commit(SECOND.header, SECOND.validators, nil=[0]))


# Who isn't.


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("version", {"block_version": 12}),
        ("chain", {"chain_id": "other"}),
        ("height", {"height": 1}),
        ("time", {"time_ns": FIRST.header.time_ns}),
        ("future", {"time_ns": CHAIN.now_ns + 10 * SECOND_NS}),
    ],
)
def test_a_header_that_does_not_follow_is_refused_whoever_signed_it(
    reason: Reason, changes: dict[str, Any]
) -> None:
    refused(reason, lambda: judge(signed_anew(SECOND, **changes)))


def test_the_clock_may_differ_a_little() -> None:
    judge(signed_anew(SECOND, time_ns=CHAIN.now_ns + 10 * SECOND_NS - 1))


def test_a_header_vouches_for_none_after_the_trust_period() -> None:
    period = Trust().period_ns
    old = FIRST.header.time_ns + period
    judge(SECOND, now_ns=old - 1)
    no = refused("expired", lambda: judge(SECOND, now_ns=old))
    assert "recent height and hash" in no.remedy
    refused("expired", lambda: judge(LAST, now_ns=old))


def test_a_header_other_than_the_commits_is_refused() -> None:
    other = replace(SECOND.header, app_hash=b"\x01" * 32)
    refused("hash", lambda: judge(replace(SECOND, header=other)))


def test_a_commit_of_another_height_is_refused_even_when_it_is_signed() -> None:
    later = commit(replace(SECOND.header, height=3), SECOND.validators, names=SECOND.header.hash)
    refused("height", lambda: judge(replace(SECOND, commit=later.commit)))


def test_signatures_for_another_chain_are_refused() -> None:
    refused("signature", lambda: judge(commit(SECOND.header, SECOND.validators, chain_id="other")))


def test_two_thirds_are_not_enough() -> None:
    three = LightChain(powers_at=lambda _: {0: 1, 1: 1, 2: 1})
    block = commit(three.blocks[2].header, three.blocks[2].validators, absent=[0])
    refused("power", lambda: judge(block, three.blocks[1]))


def test_nil_votes_are_none_for_the_block() -> None:
    refused("power", lambda: judge(commit(SECOND.header, SECOND.validators, absent=[0], nil=[1])))


def test_a_wrong_signature_is_refused_even_when_the_others_are_enough() -> None:
    for nil in ([], [3]):
        block = commit(SECOND.header, SECOND.validators, nil=nil)
        place = [member.key for member in block.validators.members].index(signer(3).public)
        votes = list(block.commit.signatures)
        votes[place] = replace(votes[place], signature=bytes(64))
        bad = replace(block, commit=replace(block.commit, signatures=tuple(votes)))
        refused("signature", lambda bad=bad: judge(bad))  # type: ignore[misc]


def test_one_vote_does_not_count_twice() -> None:
    votes = SECOND.commit.signatures
    twice = replace(SECOND.commit, signatures=(votes[0], votes[0], *votes[2:]))
    refused("address", lambda: judge(replace(SECOND, commit=twice)))
    longer = replace(SECOND.commit, signatures=(*votes, votes[0]))
    refused("commit", lambda: judge(replace(SECOND, commit=longer)))


def test_a_vote_under_anothers_address_is_refused() -> None:
    first, second, *rest = SECOND.commit.signatures
    swapped = (replace(first, address=second.address), second, *rest)
    refused("address", lambda: judge(replace(SECOND, commit=replace(SECOND.commit, signatures=swapped))))


def test_validators_other_than_the_headers_are_refused() -> None:
    powers = {**FOUR, 0: 1000}
    refused("validators", lambda: judge(commit(SECOND.header, validators(powers), absent=[1, 2, 3])))


def test_validators_that_were_not_announced_are_refused() -> None:
    strangers = LightChain(powers_at=lambda height: FOUR if height < 2 else {7: 10})
    header = replace(strangers.blocks[2].header, last_block_id=SECOND.header.last_block_id)
    block = commit(header, strangers.blocks[2].validators)
    refused("next validators", lambda: judge(block))


def test_swapped_powers_are_another_set() -> None:
    uneven, swapped = {0: 3, 1: 2, 2: 1}, {0: 2, 1: 3, 2: 1}
    assert validators(uneven).total == validators(swapped).total
    assert validators(uneven).hash != validators(swapped).hash
    members = list(validators(uneven).members)
    with pytest.raises(ValueError, match="order"):
        Validators((members[1], members[0], members[2]))


def test_a_validator_is_in_a_set_once() -> None:
    key = signer(0).public
    with pytest.raises(ValueError, match="order"):
        Validators((Validator(key, 1), Validator(key, 1)))
    with pytest.raises(ValueError, match="twice"):
        Validators((Validator(key, 2), Validator(key, 1)))


def test_powers_have_a_sum_that_consensus_can_count() -> None:
    with pytest.raises(ValueError, match="sum"):
        Validators.of([Validator(signer(0).public, MOST_POWER), Validator(signer(1).public, 1)])


def test_a_third_of_the_trusted_power_is_not_enough_to_skip() -> None:
    def third(height: int) -> Powers:
        return {0: 1, 1: 1, 2: 1} if height < 5 else {0: 1, 3: 1, 4: 1}

    chain = LightChain(powers_at=third)
    refused("overlap", lambda: judge(chain.blocks[6], chain.blocks[1]))
    judge(chain.blocks[5], chain.blocks[4])
    judge(chain.blocks[6], chain.blocks[5])


def test_the_overlap_is_of_votes_not_of_names() -> None:
    """Strangers may list trusted validators as members whose votes are absent."""
    many = {**dict.fromkeys(FOUR, 1), 8: 1000}
    chain = LightChain(powers_at=lambda height: FOUR if height < 3 else many)
    forged = commit(chain.blocks[6].header, chain.blocks[6].validators, absent=list(FOUR))
    check_commit(forged)
    refused("overlap", lambda: judge(forged, chain.blocks[1]))


@pytest.mark.parametrize("level", [(1, 4), (0, 1), (4, 3), (1, 0), (-1, -2)])
def test_a_trust_level_below_a_third_is_refused(level: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="trust level"):
        Trust(level=level)
    with pytest.raises(UsageError, match="period"):
        Trust(period_ns=0)


# Every byte.

MIXED = LightChain(2, powers_at=lambda _: dict.fromkeys(range(7), 10))
VALID = commit(MIXED.blocks[2].header, MIXED.blocks[2].validators, absent=[1], nil=[2])


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each field that isn't made of others."""
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value) if each.init]
        return [leaf for name in names for leaf in leaves(getattr(value, name), (*path, name))]
    if isinstance(value, tuple):
        return [leaf for place, each in enumerate(value) for leaf in leaves(each, (*path, place))]
    return [path]


def changed(value: Any, path: tuple[Any, ...], bend: Callable[[Any], Any]) -> Any:
    """`value` with another leaf at the end of `path`."""
    if not path:
        return bend(value)
    step, *rest = path
    if isinstance(value, tuple):
        return (*value[:step], changed(value[step], tuple(rest), bend), *value[step + 1 :])
    return replace(value, **{step: changed(getattr(value, step), tuple(rest), bend)})


def bent(value: Any, at: int, by: int) -> Any:
    """Another value of the same kind; `at` and `by` say which byte changes, and how."""
    match value:
        case Flag():
            return Flag(value % 3 + 1)
        case int():
            return value ^ by << at % 7 * 8
        case str():
            place = at % len(value)
            return value[:place] + chr(ord(value[place]) ^ by % 127 + 1) + value[place + 1 :]
        case b"":
            return bytes([by])
        case bytes():
            place = at % len(value)
            return value[:place] + bytes([value[place] ^ by]) + value[place + 1 :]
    raise AssertionError(value)


@given(st.sampled_from(leaves(VALID)), st.integers(0, 127), st.integers(1, 255))
@settings(max_examples=1500, deadline=None)
def test_a_changed_byte_in_any_field_is_refused(path: tuple[Any, ...], at: int, by: int) -> None:
    try:
        block = changed(VALID, path, lambda value: bent(value, at, by))
    except ValueError:
        return
    assert block != VALID
    with pytest.raises(Untrusted):
        judge(block, MIXED.blocks[1])


def test_the_block_that_is_bent_is_good_and_has_every_field() -> None:
    judge(VALID, MIXED.blocks[1])
    assert len(leaves(VALID)) == 17 + 5 + 7 * 4 + 7 * 2


# Records.


@given(
    st.dictionaries(st.binary(max_size=8), st.binary(max_size=8), min_size=1, max_size=20),
    st.binary(max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_a_record_is_believed_by_the_header_after_its_block(records: dict[bytes, bytes], key: bytes) -> None:
    pages: dict[bytes, bytes] = {}
    tree = Tree(pages.get)
    root, changes = tree.update(dict(records))
    pages.update({prefix: page for prefix, page in changes.items() if page is not None})
    proof, value = prove(pages.get, key), records.get(key)
    store = Store()
    refused("unverified", lambda: believe(store, 1, key, value, proof))
    store.add(commit(replace(SECOND.header, app_hash=root), SECOND.validators))
    believe(store, 1, key, value, proof)
    other = b"other" if value is None else None
    refused("proof", lambda: believe(store, 1, key, other, proof))
    refused("unverified", lambda: believe(store, 2, key, value, proof))


def test_an_application_hash_that_is_no_root_proves_nothing() -> None:
    store = Store()
    store.add(commit(replace(SECOND.header, app_hash=bytes(8)), SECOND.validators))
    refused("proof", lambda: believe(store, 1, b"key", None, prove(lambda _: None, b"key")))


def test_a_chain_is_checked_by_its_name() -> None:
    check_block(SECOND, CHAIN_ID)
    refused("chain", lambda: check_block(SECOND, "other"))
