"""The messages of ABCI 2.0 that an application needs, as CometBFT 0.38 to 0.40 speak them over a socket.

On the socket each message is a varint of its length, then a Request or a Response: one field, whose number
says which kind it is. Only fields that we read or set are here; the others are skipped. Source: the file
proto/tendermint/abci/types.proto of CometBFT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from zosnet.ledger.comet.protobuf import (
    Bytes,
    Several,
    String,
    Sub,
    Whole,
    decode,
    encode,
    read_varint,
    varint,
)
from zosnet.ledger.encoding import Malformed

__all__ = [
    "ACCEPT",
    "RECHECK",
    "REJECT",
    "CheckTx",
    "CheckedTx",
    "Commit",
    "Committed",
    "Echo",
    "Empty",
    "Failure",
    "FinalizeBlock",
    "FinalizedBlock",
    "Info",
    "InfoAnswer",
    "InitChain",
    "InitialState",
    "Misbehavior",
    "Named",
    "PrepareProposal",
    "PreparedProposal",
    "ProcessProposal",
    "PublicKey",
    "Query",
    "QueryAnswer",
    "Time",
    "TxResult",
    "Validator",
    "ValidatorUpdate",
    "Verdict",
    "read_requests",
    "request_bytes",
    "response_bytes",
]

#: What CometBFT itself allows for a block is far less. A length beyond is nonsense, not a reason to buffer.
LARGEST = 128 << 20

RECHECK: Final = 1
"""CheckTx's kind for what is still pending after a block."""
ACCEPT: Final = 1
REJECT: Final = 2


@dataclass(frozen=True, slots=True)
class Empty:
    """A message without fields."""


@dataclass(frozen=True, slots=True)
class Time:
    """Since 1970."""

    seconds: Annotated[int, Whole(1)] = 0
    nanos: Annotated[int, Whole(2)] = 0

    @property
    def ms(self) -> int:
        """Whole milliseconds, as the ledger counts."""
        return self.seconds * 1000 + self.nanos // 1_000_000


@dataclass(frozen=True, slots=True)
class Echo:
    """Said back."""

    message: Annotated[str, String(1)] = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: CometBFT ends when it hears it."""

    error: Annotated[str, String(1)] = ""


@dataclass(frozen=True, slots=True)
class Info:
    """Where are you?"""

    version: Annotated[str, String(1)] = ""


@dataclass(frozen=True, slots=True)
class InfoAnswer:
    """The last block that the application keeps."""

    data: Annotated[str, String(1)] = ""
    version: Annotated[str, String(2)] = ""
    app_version: Annotated[int, Whole(3)] = 0
    last_block_height: Annotated[int, Whole(4)] = 0
    last_block_app_hash: Annotated[bytes, Bytes(5)] = b""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A validator's."""

    ed25519: Annotated[bytes, Bytes(1)] = b""


@dataclass(frozen=True, slots=True)
class ValidatorUpdate:
    """A validator and its power."""

    pub_key: Annotated[PublicKey | None, Sub(1, PublicKey)] = None
    power: Annotated[int, Whole(2)] = 0


@dataclass(frozen=True, slots=True)
class InitChain:
    """The beginning."""

    time: Annotated[Time | None, Sub(1, Time)] = None
    chain_id: Annotated[str, String(2)] = ""
    validators: Annotated[tuple[ValidatorUpdate, ...], Several(Sub(4, ValidatorUpdate))] = ()
    app_state: Annotated[bytes, Bytes(5)] = b""
    initial_height: Annotated[int, Whole(6)] = 0


@dataclass(frozen=True, slots=True)
class InitialState:
    """The application's answer to the beginning."""

    app_hash: Annotated[bytes, Bytes(3)] = b""


@dataclass(frozen=True, slots=True)
class Query:
    """A question over CometBFT's RPC."""

    data: Annotated[bytes, Bytes(1)] = b""
    path: Annotated[str, String(2)] = ""
    height: Annotated[int, Whole(3)] = 0
    prove: Annotated[int, Whole(4)] = 0


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The answer."""

    code: Annotated[int, Whole(1)] = 0
    log: Annotated[str, String(3)] = ""
    key: Annotated[bytes, Bytes(6)] = b""
    value: Annotated[bytes, Bytes(7)] = b""
    height: Annotated[int, Whole(9)] = 0


@dataclass(frozen=True, slots=True)
class CheckTx:
    """May this wait for a block?"""

    tx: Annotated[bytes, Bytes(1)] = b""
    type: Annotated[int, Whole(2)] = 0


@dataclass(frozen=True, slots=True)
class CheckedTx:
    """It may where `code` is 0."""

    code: Annotated[int, Whole(1)] = 0
    log: Annotated[str, String(3)] = ""


@dataclass(frozen=True, slots=True)
class Validator:
    """By address: the first 20 bytes of SHA-256 of the key."""

    address: Annotated[bytes, Bytes(1)] = b""
    power: Annotated[int, Whole(3)] = 0


@dataclass(frozen=True, slots=True)
class Misbehavior:
    """A validator that signed what it must not. Kinds: 1 two votes at once, 2 an attack on light clients."""

    type: Annotated[int, Whole(1)] = 0
    validator: Annotated[Validator | None, Sub(2, Validator)] = None
    height: Annotated[int, Whole(3)] = 0
    time: Annotated[Time | None, Sub(4, Time)] = None


@dataclass(frozen=True, slots=True)
class PrepareProposal:
    """Make a block of what waits."""

    max_tx_bytes: Annotated[int, Whole(1)] = 0
    txs: Annotated[tuple[bytes, ...], Several(Bytes(2))] = ()
    height: Annotated[int, Whole(5)] = 0
    time: Annotated[Time | None, Sub(6, Time)] = None


@dataclass(frozen=True, slots=True)
class PreparedProposal:
    """The block's transactions."""

    txs: Annotated[tuple[bytes, ...], Several(Bytes(1))] = ()


@dataclass(frozen=True, slots=True)
class ProcessProposal:
    """Is this proposal one to vote for?"""

    txs: Annotated[tuple[bytes, ...], Several(Bytes(1))] = ()
    hash: Annotated[bytes, Bytes(4)] = b""
    height: Annotated[int, Whole(5)] = 0
    time: Annotated[Time | None, Sub(6, Time)] = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """ACCEPT or REJECT, of a proposal or of a vote's extension."""

    status: Annotated[int, Whole(1)] = 0


@dataclass(frozen=True, slots=True)
class FinalizeBlock:
    """This block is decided: carry it out."""

    txs: Annotated[tuple[bytes, ...], Several(Bytes(1))] = ()
    misbehavior: Annotated[tuple[Misbehavior, ...], Several(Sub(3, Misbehavior))] = ()
    hash: Annotated[bytes, Bytes(4)] = b""
    height: Annotated[int, Whole(5)] = 0
    time: Annotated[Time | None, Sub(6, Time)] = None


@dataclass(frozen=True, slots=True)
class TxResult:
    """What became of a transaction; code and data are under the next header's hash of results."""

    code: Annotated[int, Whole(1)] = 0


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """What became of the block."""

    tx_results: Annotated[tuple[TxResult, ...], Several(Sub(2, TxResult))] = ()
    app_hash: Annotated[bytes, Bytes(5)] = b""


@dataclass(frozen=True, slots=True)
class Commit:
    """Keep it."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Kept; blocks below `retain_height` may go."""

    retain_height: Annotated[int, Whole(3)] = 0


@dataclass(frozen=True, slots=True)
class Named:
    """A request of a kind that has no fields for us: its name."""

    name: str


#: Field of Request, class of the request (or its name), field of Response.
_KINDS: Final[tuple[tuple[int, type[Any] | str, int], ...]] = (
    (1, Echo, 2),
    (2, "flush", 3),
    (3, Info, 4),
    (5, InitChain, 6),
    (6, Query, 7),
    (8, CheckTx, 9),
    (11, Commit, 12),
    (12, "list_snapshots", 13),
    (13, "offer_snapshot", 14),
    (14, "load_snapshot_chunk", 15),
    (15, "apply_snapshot_chunk", 16),
    (16, PrepareProposal, 17),
    (17, ProcessProposal, 18),
    (18, "extend_vote", 19),
    (19, "verify_vote_extension", 20),
    (20, FinalizeBlock, 21),
)
_BY_FIELD: Final = {field: kind for field, kind, _ in _KINDS}
_FIELD_OF: Final = {kind: field for field, kind, _ in _KINDS}
_ANSWER_OF: Final = {kind: answer for _, kind, answer in _KINDS}


def _framed(field: int, message: Any) -> bytes:
    body = encode(message)
    inner = varint(field << 3 | 2) + varint(len(body)) + body
    return varint(len(inner)) + inner


def request_bytes(request: Any) -> bytes:
    """A request as CometBFT sends it."""
    if isinstance(request, Named):
        return _framed(_FIELD_OF[request.name], Empty())
    return _framed(_FIELD_OF[type(request)], request)


def response_bytes(request: Any, answer: Any) -> bytes:
    """The answer to a request, as CometBFT reads it."""
    if isinstance(answer, Failure):
        return _framed(1, answer)
    return _framed(_ANSWER_OF[request.name if isinstance(request, Named) else type(request)], answer)


def read_requests(data: bytes) -> tuple[list[Any], int]:
    """The whole requests at the front of `data`, and how many bytes they took. Raises Malformed."""
    found: list[Any] = []
    at = 0
    while True:
        try:
            size, start = read_varint(data, at)
        except Malformed:
            if len(data) - at < 10:
                return found, at
            raise
        if size > LARGEST:
            raise Malformed(f"a message of {size} bytes")
        if start + size > len(data):
            return found, at
        found.append(_request(data[start : start + size]))
        at = start + size


def _request(data: bytes) -> Any:
    tag, at = read_varint(data, 0)
    size, at = read_varint(data, at)
    if tag & 7 != 2 or at + size != len(data):
        raise Malformed("a request is not one message")
    kind = _BY_FIELD.get(tag >> 3)
    if kind is None:
        raise Malformed(f"requests of the kind {tag >> 3} are unknown")
    return Named(kind) if isinstance(kind, str) else decode(kind, data[at:])
