"""The rules of closed doors: text, records, and what a refusal means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.access import (
    ANYONE,
    Doors,
    Reason,
    Rule,
    Source,
    compile_doors,
    explain,
    parse_key,
    parse_rule,
    parse_source,
)
from zosnet.access.inbound import MOST_RECORDS
from zosnet.model import OVERLAY, Prefix, PublicKey, UsageError

KEY = PublicKey(bytes(range(32)))
PART = Prefix.parse("5a6:f0c6::/32")


@pytest.mark.parametrize(
    ("text", "rule", "shown"),
    [
        (f"tcp/22 from key:{KEY.hex}", Rule(KEY, 6, ((22, 22),)), f"tcp/22 from key:{KEY.hex}"),
        (f"TCP/22 FROM KEY:{KEY.hex.upper()}", Rule(KEY, 6, ((22, 22),)), f"tcp/22 from key:{KEY.hex}"),
        (
            "udp/8000-8010,53 from 5a6:f0c6::/32",
            Rule(PART, 17, ((53, 53), (8000, 8010))),
            "udp/53,8000-8010 from 5a6:f0c6::/32",
        ),
        ("tcp/1-3,4,9,8-8", Rule(ANYONE, 6, ((1, 4), (8, 9))), "tcp/1-4,8-9 from any"),
        ("tcp/0-65535 from any", Rule(ANYONE, 6), "tcp from any"),
        ("  icmp   from  all ", Rule(ANYONE, 58), "icmp from any"),
        ("any from 5a6::1", Rule(Prefix.parse("5a6::1")), "any from 5a6::1/128"),
        ("47 from ::/0", Rule(ANYONE, 47), "47 from any"),
        ("132/5 from 400::/7", Rule(ANYONE, 132, ((5, 5),)), "sctp/5 from any"),
    ],
)
def test_a_rule_is_read_and_shown(text: str, rule: Rule, shown: str) -> None:
    assert parse_rule(text) == rule
    assert str(rule) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a rule"),
        ("tcp/22 to any", "is not a rule"),
        ("tcp/22 from any from any", "is not a rule"),
        ("tcp /22 from any", "is not a rule"),
        ("http from any", "there is no protocol 'http'"),
        ("256 from any", "there is no protocol '256'"),
        ("icmp/8 from any", "icmp has no ports"),
        ("any/22 from any", "any has no ports"),
        ("tcp/ from any", "'' is no port"),
        ("tcp/22- from any", "'22-' is no port"),
        ("tcp/9-8 from any", "'9-8' is no port"),
        ("tcp/65536 from any", "'65536' is no port"),
        ("tcp/²2 from any", "'²2' is no port"),
        ("tcp/22 from key:00", "'00' is not a public key"),
        ("tcp/22 from nowhere", "neither a key nor an address"),
        ("tcp/22 from 192.0.2.1", "neither a key nor an address"),
        ("tcp/22 from fd00::/8", "it is not in the overlay"),
    ],
)
def test_what_is_no_rule_is_told_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_rule(text)
    assert caught.value.remedy


def test_keys_and_sources_are_read() -> None:
    assert parse_key(KEY.hex) == parse_key(f" key:{KEY.hex} ") == KEY
    assert parse_source("any") == parse_source("ALL") == ANYONE
    assert parse_source("5a6:f0c6::1/32") == PART, "host bits are dropped"


def test_a_record_is_laid_out_as_the_data_plane_reads_it() -> None:
    doors = Doors(rules=(Rule(KEY, 6, ((22, 22), (80, 90))), Rule(PART, None)), messages=(ANYONE, KEY))
    packed = compile_doors(doors)
    records = [packed[at : at + 64] for at in range(0, len(packed), 64)]
    assert [record[:12].hex() for record in records] == [
        "010100000600000000160016",
        "01010000060000000050005a",
        "01022001000000010000ffff",
        "020000010000000200000000",
        "020100010000000300000000",
    ]
    assert records[0][32:] == records[4][32:] == KEY.raw
    assert records[2][16:32] == PART.packed()


def test_more_rules_than_there_is_room_for_are_refused() -> None:
    rule = Rule(KEY, 6, tuple((port, port) for port in range(0, 200, 2)))
    many = MOST_RECORDS // 100
    assert len(compile_doors(Doors(rules=(rule,) * many))) == many * 100 * 64
    with pytest.raises(UsageError, match="4100 records"):
        compile_doors(Doors(rules=(rule,) * (many + 1)))
    with pytest.raises(UsageError, match="70000 records"):
        compile_doors(Doors(messages=(KEY,) * 70000))


@pytest.mark.parametrize(
    ("reason", "protocol", "port", "what", "setting", "item"),
    [
        ("refused_service", 6, 22, "tcp/22", "allow", f"tcp/22 from key:{KEY.hex}"),
        ("refused_service", 58, 139, "icmp type 139", "allow", f"icmp from key:{KEY.hex}"),
        ("refused_service", 47, 0, "protocol 47", "allow", f"47 from key:{KEY.hex}"),
        ("refused_message", 0, 0, "messages", "allow_messages", f"key:{KEY.hex}"),
        ("refused_stray", 6, 4000, "tcp/4000", "", ""),
        ("refused_header", 0, 0, "-", "", ""),
        ("refused_of_the_future", 6, 1, "tcp/1", "", ""),
    ],
)
def test_a_refusal_is_explained_with_what_would_let_it_in(
    reason: str, protocol: int, port: int, *, what: str, setting: str, item: str
) -> None:
    meant = explain(reason, protocol, port, KEY)
    assert meant == Reason(what, meant.why, setting, item)
    assert meant.why
    if setting == "allow":
        rule = parse_rule(item)
        assert rule.source == KEY and rule.protocol == protocol


def sources() -> st.SearchStrategy[Source]:
    prefixes = st.builds(Prefix.of, st.integers(4 << 120, (6 << 120) - 1), st.integers(7, 128))
    keys = st.binary(min_size=32, max_size=32).map(PublicKey)
    return st.one_of(keys, prefixes.map(lambda prefix: ANYONE if prefix == OVERLAY else prefix))


@given(
    sources(),
    st.none() | st.integers(0, 255),
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=5),
)
def test_what_is_shown_is_read_as_the_same_rule(
    source: Source, protocol: int | None, ports: list[tuple[int, int]]
) -> None:
    name = "any" if protocol is None else str(protocol)
    listed = ",".join(f"{min(pair)}-{max(pair)}" for pair in ports)
    shown = str(Rule(source))
    whom = shown.removeprefix("any from ")
    text = f"{name}{'/' if listed and protocol in {6, 17} else ''}{listed if protocol in {6, 17} else ''}"
    rule = parse_rule(f"{text} from {whom}")
    assert parse_rule(str(rule)) == rule
    assert rule.source == source and rule.protocol == protocol
    if protocol in {6, 17} and ports:
        wanted = {port for pair in ports for port in range(min(pair), max(pair) + 1)}
        given_ports = {port for low, high in rule.ports or ((0, 65535),) for port in range(low, high + 1)}
        assert given_ports == wanted


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    try:
        rule = parse_rule(text)
    except UsageError:
        return
    assert parse_rule(str(rule)) == rule
