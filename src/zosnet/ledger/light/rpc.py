"""CometBFT's RPC as JSON: `/commit`, `/validators` page by page, and light blocks that stand alone.

Strict: exactly the fields that are known, each number, time and hash in the one spelling that Go writes, no
key twice. Whatever comes in, a decoder returns a value or raises Malformed. What isn't signed (whose turn it
is to propose) is checked for its shape and dropped.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeVar

from zosnet.ledger.encoding import Malformed
from zosnet.ledger.light.block import (
    BlockId,
    Commit,
    CommitSig,
    Flag,
    Header,
    LightBlock,
    Validator,
    Validators,
)
from zosnet.ledger.light.canonical import SECOND_NS

__all__ = [
    "MOST_BYTES",
    "ValidatorsPage",
    "decode_commit",
    "decode_light_block",
    "decode_validators",
    "encode_light_block",
    "join_pages",
    "light_block_document",
    "light_block_of",
    "parse_json",
]

#: 10,000 validators' commit is about 3 MB.
MOST_BYTES = 8 << 20
KEY_TYPE = "tendermint/PubKeyEd25519"
LONGEST_SHOWN = 200

_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,19}")
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})*")
_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{0,8}[1-9]))?Z", re.ASCII
)
_EPOCH: Final = date(1970, 1, 1).toordinal()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ValidatorsPage:
    """Some of the `total` validators of a height, in their order."""

    height: int
    members: tuple[Validator, ...]
    total: int


# From outside.


def decode_commit(raw: bytes) -> tuple[Header, Commit]:
    """The answer of `/commit`."""
    result = _result(raw)
    _take(result, "canonical", bool)
    signed = _fields(_only(result, "signed_header", "canonical")["signed_header"], "header", "commit")
    return _header(signed["header"]), _commit(signed["commit"])


def decode_validators(raw: bytes) -> ValidatorsPage:
    """The answer of `/validators`: one page."""
    result = _only(_result(raw), "block_height", "validators", "count", "total")
    members = tuple(_validator(each) for each in _take(result, "validators", list))
    if _number(result["count"]) != len(members):
        raise Malformed("a page has another number of validators than it says")
    return ValidatorsPage(_number(result["block_height"]), members, _number(result["total"]))


def join_pages(pages: Sequence[ValidatorsPage], height: int) -> Validators:
    """The whole set of a height. Raises Malformed for pages that are not exactly its."""
    members = tuple(member for page in pages for member in page.members)
    if any(page.height != height or page.total != len(members) for page in pages):
        raise Malformed(f"the pages are not all the validators of height {height}")
    return _made(lambda: Validators(members))


def decode_light_block(raw: bytes) -> LightBlock:
    """A light block that stands alone."""
    return light_block_of(parse_json(raw))


def light_block_of(document: Any) -> LightBlock:
    """A light block in a larger document."""
    document = _fields(document, "signed_header", "validator_set")
    signed = _fields(document["signed_header"], "header", "commit")
    found = document["validator_set"]
    if not isinstance(found, dict) or not {"validators"} <= found.keys() <= {"validators", "proposer"}:
        raise Malformed("the validators are missing, or have unknown fields")
    members = tuple(_validator(each) for each in _take(found, "validators", list))
    if found.get("proposer") is not None and _validator(found["proposer"]) not in members:
        raise Malformed("the proposer is no validator")
    validators = _made(lambda: Validators(members))
    return LightBlock(_header(signed["header"]), _commit(signed["commit"]), validators)


def _result(raw: bytes) -> dict[str, Any]:
    document = parse_json(raw)
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        found = (document["error"].get(part) for part in ("message", "data"))
        text = ": ".join(part for part in found if isinstance(part, str))[:LONGEST_SHOWN]
        raise Malformed(f"the node refused: {text!a}")
    document = _fields(document, "jsonrpc", "id", "result")
    if document["jsonrpc"] != "2.0" or document["id"] not in (-1, ""):
        raise Malformed("that is no answer of JSON-RPC 2.0 to a request without an id")
    result = document["result"]
    if not isinstance(result, dict):
        raise Malformed("the answer has no result")
    return result


def parse_json(raw: bytes, limit: int = MOST_BYTES) -> Any:
    """JSON of at most `limit` bytes, in which no object has a key twice."""
    if len(raw) > limit:
        raise Malformed(f"that is longer than {limit >> 20} MiB")
    try:
        return json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise Malformed("that is not JSON, or has a key twice") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _fields(document: Any, *names: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Malformed(f"the fields {', '.join(names)} are wanted")
    return _only(document, *names)


def _only(document: dict[str, Any], *names: str) -> dict[str, Any]:
    if document.keys() != set(names):
        wrong = ", ".join(sorted(document.keys() ^ set(names)))[:LONGEST_SHOWN]
        raise Malformed(f"fields are missing or unknown: {wrong!a}")
    return document


def _take(document: dict[str, Any], name: str, kind: type[T]) -> T:
    value = document.get(name)
    if type(value) is not kind:
        raise Malformed(f"{name} is not what it must be")
    return value


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:  # what the value itself refuses
        raise Malformed(str(error)) from None


def _header(found: Any) -> Header:
    found = _fields(
        found, "version", "chain_id", "height", "time", "last_block_id", "last_commit_hash", "data_hash",
        "validators_hash", "next_validators_hash", "consensus_hash", "app_hash", "last_results_hash",
        "evidence_hash", "proposer_address",
    )  # fmt: skip
    version = _fields(found["version"], "block", "app")
    hashes = {
        name: _hex(found[name]) for name in found if name.endswith("_hash") or name == "proposer_address"
    }
    return _made(
        lambda: Header(
            block_version=_number(version["block"]),
            app_version=_number(version["app"]),
            chain_id=_take(found, "chain_id", str),
            height=_number(found["height"]),
            time_ns=_time(found["time"]),
            last_block_id=_block_id(found["last_block_id"]),
            **hashes,
        )
    )


def _block_id(found: Any) -> BlockId:
    found = _fields(found, "hash", "parts")
    parts = _fields(found["parts"], "total", "hash")
    return _made(lambda: BlockId(_hex(found["hash"]), _take(parts, "total", int), _hex(parts["hash"])))


def _commit(found: Any) -> Commit:
    found = _fields(found, "height", "round", "block_id", "signatures")
    votes = tuple(_vote(each) for each in _take(found, "signatures", list))
    return _made(
        lambda: Commit(
            _number(found["height"]), _take(found, "round", int), _block_id(found["block_id"]), votes
        )
    )


def _vote(found: Any) -> CommitSig:
    found = _fields(found, "block_id_flag", "validator_address", "timestamp", "signature")
    signature = _base64(found["signature"]) if found["signature"] else b""
    return _made(
        lambda: CommitSig(
            Flag(_take(found, "block_id_flag", int)),
            _hex(found["validator_address"]),
            _time(found["timestamp"]),
            signature,
        )
    )


def _validator(found: Any) -> Validator:
    if isinstance(found, dict) and "proposer_priority" in found:
        found = dict(found)
        _number(found.pop("proposer_priority"))
    found = _fields(found, "address", "pub_key", "voting_power")
    key = _fields(found["pub_key"], "type", "value")
    if key["type"] != KEY_TYPE:
        raise Malformed("a validator's key is not Ed25519")
    validator = _made(lambda: Validator(_base64(key["value"]), _number(found["voting_power"])))
    if _hex(found["address"]) != validator.address:
        raise Malformed("a validator's address is not its key's")
    return validator


def _number(value: Any) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Malformed("a number is not one, as text")
    return int(value)


def _hex(value: Any) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise Malformed("a hash or an address is not upper-case hexadecimal digits")
    return bytes.fromhex(value)


def _base64(value: Any) -> bytes:
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != value:
        raise Malformed("a key or a signature is not base64")
    return raw


def _time(value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Malformed("a time is not RFC 3339 in UTC, without trailing zeros")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if hour > 23 or minute > 59 or second > 59:
        raise Malformed("there is no such time of a day")
    days = _made(lambda: date(year, month, day)).toordinal() - _EPOCH
    nanos = int((match[7] or "").ljust(9, "0"))
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * SECOND_NS + nanos


# To the outside.


def encode_light_block(block: LightBlock) -> bytes:
    """A light block in the one spelling that `decode_light_block` reads."""
    return json.dumps(light_block_document(block), separators=(",", ":")).encode()


def light_block_document(block: LightBlock) -> dict[str, Any]:
    """A light block for a larger document."""
    header, commit = block.header, block.commit
    return {
        "signed_header": {
            "header": {
                "version": {"block": str(header.block_version), "app": str(header.app_version)},
                "chain_id": header.chain_id,
                "height": str(header.height),
                "time": _time_text(header.time_ns),
                "last_block_id": _block_id_document(header.last_block_id),
                "last_commit_hash": _digits(header.last_commit_hash),
                "data_hash": _digits(header.data_hash),
                "validators_hash": _digits(header.validators_hash),
                "next_validators_hash": _digits(header.next_validators_hash),
                "consensus_hash": _digits(header.consensus_hash),
                "app_hash": _digits(header.app_hash),
                "last_results_hash": _digits(header.last_results_hash),
                "evidence_hash": _digits(header.evidence_hash),
                "proposer_address": _digits(header.proposer_address),
            },
            "commit": {
                "height": str(commit.height),
                "round": commit.round,
                "block_id": _block_id_document(commit.block_id),
                "signatures": [
                    {
                        "block_id_flag": int(vote.flag),
                        "validator_address": _digits(vote.address),
                        "timestamp": _time_text(vote.time_ns),
                        "signature": base64.b64encode(vote.signature).decode() if vote.signature else None,
                    }
                    for vote in commit.signatures
                ],
            },
        },
        "validator_set": {
            "validators": [
                {
                    "address": _digits(member.address),
                    "pub_key": {"type": KEY_TYPE, "value": base64.b64encode(member.key).decode()},
                    "voting_power": str(member.power),
                }
                for member in block.validators.members
            ]
        },
    }


def _digits(raw: bytes) -> str:
    return raw.hex().upper()


def _block_id_document(block_id: BlockId) -> dict[str, Any]:
    parts = {"total": block_id.parts_total, "hash": _digits(block_id.parts_hash)}
    return {"hash": _digits(block_id.hash), "parts": parts}


def _time_text(time_ns: int) -> str:
    seconds, nanos = divmod(time_ns, SECOND_NS)
    days, rest = divmod(seconds, 86_400)
    fraction = f".{nanos:09}".rstrip("0").rstrip(".")
    day = date.fromordinal(_EPOCH + days).isoformat()
    return f"{day}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{fraction}Z"
