"""Identities of the reference (sections 1.2 and 11.1), computed by Mycelium's own code."""

from ipaddress import IPv6Address

import pytest

from zosnet.model import PeerError, PublicKey, SecretKey, UsageError

IDENTITIES = [
    (
        0x01,
        "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c",
        "5a6:f0c6:f365:177d:66be:4a2b:d9fd:b59e",
    ),
    (
        0x21,
        "5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b",
        "5e5:2195:7cc4:bfb0:bb4d:44f8:afc:d14e",
    ),
    (
        0x41,
        "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466",
        "468:20b6:ba90:a8da:c310:ad1c:70b7:5be",
    ),
]
SHARED = {
    (0x01, 0x21): "a84dc7c3c8f058b1b2dc4cd1e9b5dc0a7987f88b6a9564cde3391fc421159e77",
    (0x01, 0x41): "26c2c17fdb82161cb21ad16e721315355b64d1763119b10bfc962530dc7cc163",
    (0x21, 0x41): "b6ddcb217f2edb78fe01f0d967925f1e3fda132789e4566ddc2abcd3e2fd9526",
}


def secret(first: int) -> SecretKey:
    return SecretKey(bytes(range(first, first + 32)))


@pytest.mark.parametrize(("first", "public", "address"), IDENTITIES)
def test_the_reference_identities_come_out(first: int, public: str, address: str) -> None:
    key = secret(first).public()
    assert key == PublicKey.parse(public)
    assert (str(key), key.address()) == (public, IPv6Address(address))
    assert key.subnet().contains(int(key.address()))
    assert key.subnet().length == 64


@pytest.mark.parametrize(
    ("public", "address"),
    [
        (
            "a47c1d6f2a15b2c670d3a88fbe0aeb301ced12f7bcb4c8e3aa877b20f8559c02",
            "548:c783:d7ce:74a3:9ba1:a0cb:ae21:338d",
        ),
        (
            "955bf6bea5e1150fd8e270c12e5b2fc08f08f7c5f3799d10550096cc137d671b",
            "514:74ce:dd13:296f:ada7:4d2e:9335:acac",
        ),
        (
            "abd16194646defe7ad2318a0f0a69eb2e3fe939c3b0b51cf0bb88bb8028ecd1d",
            "597:d890:a254:dd45:2bc6:9a47:40d5:ed83",
        ),
    ],
)
def test_addresses_are_blake3_of_the_key(public: str, address: str) -> None:
    assert PublicKey.parse(public).address() == IPv6Address(address)


@pytest.mark.parametrize(("pair", "shared"), SHARED.items())
def test_both_ends_share_the_reference_secret(pair: tuple[int, int], shared: str) -> None:
    one, other = secret(pair[0]), secret(pair[1])
    assert one.shared(other.public()) == other.shared(one.public()) == bytes.fromhex(shared)


@pytest.mark.parametrize("low_order", [bytes(32), b"\x01" + bytes(31)])
def test_a_low_order_key_is_the_peers_fault(low_order: bytes) -> None:
    with pytest.raises(PeerError, match="low order"):
        secret(1).shared(PublicKey(low_order))


def test_a_secret_never_shows_itself() -> None:
    key = SecretKey.generate(b"\xab" * 32)
    assert "ab" not in repr(key).lower().replace("secretkey", "")
    assert key != SecretKey.generate(b"\xab" * 32)


def test_the_signing_key_follows_from_the_secret_and_is_another_key() -> None:
    key = secret(1)
    assert key.signing_public() == secret(1).signing_public()
    assert key.signing_public() != key.public().raw
    assert key.signing_public() != secret(2).signing_public()
    # Computed once: a change here would change the signing identity of every node.
    assert key.signing_public().hex() == "d4af18e1e81bd5cb4ff76c95549b157b6f18f2c39660ccfcb73aa419c98e6fa3"


@pytest.mark.parametrize("text", ["", "07a3", "zz" * 32, "07" * 33, "é" * 64, "0x" + "07" * 31, " 7" * 32])
def test_what_is_no_public_key_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        PublicKey.parse(text)
    assert "64 hexadecimal digits" in refused.value.remedy


def test_keys_of_a_wrong_length_cannot_exist() -> None:
    with pytest.raises(UsageError):
        PublicKey(b"short")
    with pytest.raises(UsageError):
        SecretKey(b"short")
