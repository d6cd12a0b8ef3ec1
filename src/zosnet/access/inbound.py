"""Closed doors: which packets and messages of the overlay a node lets in, unasked.

A rule is one line that a person can read:

    tcp/22 from key:07a37cbc…            one port, for one node
    udp/53,8000-8010 from 5a6:f0c6::/32  some ports, for all addresses of a prefix
    icmp from any                        a protocol, for everybody
    any from key:07a37cbc…               everything, for one node

What goes down to the data plane is a list of records, one for each range of ports
(`rust/core/src/filter/rules.rs`). Rules are numbered in their order, those for packets first; what each has
let in is counted there.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from zosnet.model import OVERLAY, Prefix, PublicKey, UsageError

Source = PublicKey | Prefix
Ports = tuple[tuple[int, int], ...]

#: Every node of the overlay.
ANYONE = Prefix(0, 0)

_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 58, "sctp": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
#: Protocols that begin with two ports; DCCP and UDP-Lite have no name here.
_PORTED = frozenset({6, 17, 33, 132, 136})
_ICMP = 58
_MOST = 65535
#: As many records as the data plane takes.
MOST_RECORDS = 4096

_RECORD = Struct(">BBB?BxHHH4x16s32s")
_PACKETS, _MESSAGES = 1, 2
_FROM_ANYONE, _FROM_KEY, _FROM_PREFIX = 0, 1, 2

_EXAMPLE = "write it like `tcp/22 from key:…`, `udp/53,8000-8010 from 5a6:…::/64` or `any from key:…`"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may come in, and to what. The bare constructor trusts its arguments; `parse_rule` does not."""

    source: Source
    protocol: int | None = None
    """None: every protocol."""
    ports: Ports = ()
    """Ranges, both ends included. None of them: all, also of protocols without ports."""

    def __str__(self) -> str:
        name = "any" if self.protocol is None else _NAMES.get(self.protocol, str(self.protocol))
        ports = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ports)
        return f"{name}{'/' if ports else ''}{ports} from {source_text(self.source)}"


@dataclass(frozen=True, slots=True)
class Doors:
    """All that one node lets in."""

    open: bool = False
    """Everything, whatever the lists say."""
    rules: tuple[Rule, ...] = ()
    messages: tuple[Source, ...] = ()
    """Whose messages are taken."""


class Reason(NamedTuple):
    """What a refusal means to a person."""

    what: str
    """What the packet wanted: `tcp/22`, `messages`."""
    why: str
    setting: str = ""
    """The setting that would let it in, and the item to add to it; empty where none would, or should."""
    item: str = ""


def source_text(source: Source) -> str:
    """A source as it is written in a rule."""
    if isinstance(source, PublicKey):
        return f"key:{source.hex}"
    return "any" if source == ANYONE else str(source)


def parse_source(text: str) -> Source:
    """Read `any`, `key:HEX`, a prefix or an address. Raises UsageError for anything else."""
    word = text.strip().lower()
    if word in {"any", "all"}:
        return ANYONE
    if word.startswith("key:"):
        return parse_key(word)
    try:
        prefix = Prefix.parse(word)
    except UsageError:
        raise UsageError(
            f"{text.strip()!r} is neither a key nor an address",
            remedy="write any, key:… with 64 hexadecimal digits, or a prefix such as 5a6:f0c6::/32",
        ) from None
    if prefix.covers(OVERLAY):
        return ANYONE
    if not OVERLAY.covers(prefix):
        raise UsageError(
            f"no packet comes from {prefix}: it is not in the overlay", remedy=f"name a part of {OVERLAY}"
        )
    return prefix


def parse_key(text: str) -> PublicKey:
    """Read 64 hexadecimal digits, with or without `key:` before them. Raises UsageError for anything else."""
    return PublicKey.parse(text.strip().lower().removeprefix("key:"))


def parse_rule(text: str) -> Rule:
    """Read one rule; without `from` it is for anyone. Raises UsageError for anything else."""
    what, word, whom = _parts(text)
    name, slash, listed = what.partition("/")
    protocol = _protocol(name, text)
    if slash and protocol not in _PORTED:
        raise UsageError(f"{text.strip()!r}: {name} has no ports", remedy=_EXAMPLE)
    ports = tuple(_range(item, text) for item in listed.split(",")) if slash else ()
    return Rule(parse_source(whom) if word else ANYONE, protocol, _merged(ports))


def _parts(text: str) -> tuple[str, str, str]:
    match text.lower().split():
        case [what]:
            return what, "", ""
        case [what, "from", whom]:
            return what, "from", whom
        case _:
            raise UsageError(f"{text.strip()!r} is not a rule", remedy=_EXAMPLE)


def _protocol(name: str, text: str) -> int | None:
    if name == "any":
        return None
    if name in _PROTOCOLS:
        return _PROTOCOLS[name]
    if name.isascii() and name.isdigit() and int(name) <= 255:
        return int(name)
    raise UsageError(
        f"{text.strip()!r}: there is no protocol {name!r}",
        remedy="name tcp, udp, icmp, sctp, any or a number",
    )


def _range(item: str, text: str) -> tuple[int, int]:
    first, dash, last = item.partition("-")
    ends = [first, last if dash else first]
    if all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        low, high = int(ends[0]), int(ends[1])
        if low <= high <= _MOST:
            return low, high
    raise UsageError(f"{text.strip()!r}: {item!r} is no port and no range of ports", remedy=_EXAMPLE)


def _merged(ports: Ports) -> Ports:
    """The same ports in order, in as few ranges as they need; none if they are all there are."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ports):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return () if merged == [(0, _MOST)] else tuple(merged)


def compile_doors(doors: Doors) -> bytes:
    """The records for the data plane. Raises UsageError when there are more than it takes."""
    count = sum(len(rule.ports) or 1 for rule in doors.rules) + len(doors.messages)
    if count > MOST_RECORDS:
        raise UsageError(
            f"the rules need {count} records, and there is room for {MOST_RECORDS}",
            remedy="name prefixes instead of addresses, and ranges instead of ports",
        )
    records = [
        _record(_PACKETS, number, rule.source, rule.protocol, first, last)
        for number, rule in enumerate(doors.rules)
        for first, last in rule.ports or ((0, _MOST),)
    ]
    records += [
        _record(_MESSAGES, number, source, None, 0, 0)
        for number, source in enumerate(doors.messages, len(doors.rules))
    ]
    return b"".join(records)


def _record(list_: int, number: int, source: Source, protocol: int | None, first: int, last: int) -> bytes:  # noqa: PLR0917
    key, prefix, length = bytes(32), bytes(16), 0
    if isinstance(source, PublicKey):
        kind, key = _FROM_KEY, source.raw
    elif source == ANYONE:
        kind = _FROM_ANYONE
    else:
        kind, prefix, length = _FROM_PREFIX, source.packed(), source.length
    every = protocol is None
    return _RECORD.pack(list_, kind, length, every, protocol or 0, number, first, last, prefix, key)


_WHY = {
    "refused_stray": "it belongs to no connection that this node knows: an old one, or a probe",
    "refused_error": "an ICMPv6 error about nothing that this host sent",
    "refused_discovery": "nobody on the overlay is this host's neighbour or router",
    "refused_fragment": "a fragment whose first one was not let in, or came later",
    "refused_header": "its headers can't be followed, or ask for detours",
}


def explain(reason: str, protocol: int, port: int, key: PublicKey) -> Reason:
    """What a refusal of the data plane means, and what would let it in, for its sender alone."""
    what = wanted(protocol, port)
    if reason == "refused_message":
        why = "its sender is not among those whose messages are taken"
        return Reason("messages", why, "allow_messages", source_text(key))
    if reason != "refused_service":
        return Reason(what, _WHY.get(reason, reason))
    ports = ((port, port),) if protocol in _PORTED else ()
    rule = Rule(key, protocol, ports)
    return Reason(what, "no rule lets its sender in there", "allow", str(rule))


def wanted(protocol: int, port: int) -> str:
    """What a packet is for: `tcp/22`, `icmp type 139`, `protocol 47`, `-` where it can't be told."""
    if protocol in _PORTED:
        return f"{_NAMES.get(protocol, str(protocol))}/{port}"
    if protocol == _ICMP:
        return f"icmp type {port}"
    return f"protocol {protocol}" if protocol else "-"
