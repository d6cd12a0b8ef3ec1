import pytest

from zosnet.model import PublicKey, RouterId, UsageError
from zosnet.model.router_id import interned

KEY = PublicKey(bytes(range(32)))


def test_the_text_form_is_mycelium_s() -> None:
    router_id = RouterId.of(KEY, 0x0102, bytes.fromhex("aabbccddeeff"))
    assert str(router_id) == f"{KEY.hex}-0102-aabbccddeeff"


def test_the_parts_are_those_it_was_made_of() -> None:
    router_id = RouterId.of(KEY, 7, b"random")
    assert (router_id.public_key, router_id.zone, router_id.random) == (KEY, 7, b"random")
    assert router_id.address == int(KEY.address())
    assert router_id.subnet == KEY.subnet()


def test_equality_is_over_all_forty_bytes() -> None:
    one = RouterId.of(KEY, 0, b"random")
    assert one == RouterId(one.raw) and hash(one) == hash(RouterId(one.raw))
    assert one != RouterId.of(KEY, 1, b"random")
    assert one != RouterId.of(KEY, 0, b"Random")
    assert one != one.raw


def test_the_same_bytes_are_the_same_object() -> None:
    raw = bytes(range(40))
    assert interned(raw) is interned(bytes(bytearray(raw)))


def test_the_memory_of_router_ids_is_bounded() -> None:
    assert interned.cache_info().maxsize is not None


@pytest.mark.parametrize(("zone", "random"), [(-1, bytes(6)), (65536, bytes(6)), (0, bytes(5))])
def test_impossible_parts_are_refused(zone: int, random: bytes) -> None:
    with pytest.raises(UsageError):
        RouterId.of(KEY, zone, random)


def test_forty_bytes_or_nothing() -> None:
    with pytest.raises(UsageError):
        RouterId(bytes(39))
