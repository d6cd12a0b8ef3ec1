"""`zosnet ledger verify --rpc`: a light client of a ledger that several operators run with CometBFT."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zosnet.cli.ledger_access import at
from zosnet.ledger.client.comet import HttpRpc, fetch, newest_height, walk
from zosnet.ledger.client.follower import STALE_MS, Pin
from zosnet.ledger.encoding import Malformed, decode
from zosnet.ledger.light.answer import believe
from zosnet.ledger.light.client import LightClient, Store
from zosnet.ledger.light.rpc import parse_json
from zosnet.ledger.light.saved import KEPT, decode_store, encode_store
from zosnet.ledger.light.verify import DAY_NS, Trust
from zosnet.ledger.records import kind_of
from zosnet.ledger.tree import Proof
from zosnet.model.errors import HostError, PeerError, UsageError
from zosnet.store.files import write_private

__all__ = ["LightProof", "Sources", "verify_by_light"]

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class LightProof:
    """A record as of the end of a block, and the way to that block's root."""

    height: int
    key: bytes
    value: bytes | None
    proof: Proof

    @classmethod
    def parse(cls, raw: bytes) -> LightProof:
        """Read the JSON of one: `height`, and `key`, `value` and `proof` as hexadecimal digits."""
        try:
            found = parse_json(raw)
            height, value = found["height"], found["value"]
            if type(height) is not int or not 0 < height < 2**63 - 1:
                raise Malformed("the height is out of range")
            key = bytes.fromhex(found["key"])
            kind_of(key)
            return cls(
                height,
                key,
                None if value is None else bytes.fromhex(value),
                decode(Proof, bytes.fromhex(found["proof"])),
            )
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise PeerError(
                f"that is no proof of a record as of a block: {error}",
                remedy="it has the fields height, key, value and proof",
            ) from None

    @property
    def record(self) -> Any:
        """What the value says."""
        try:
            return None if self.value is None else decode(kind_of(self.key), self.value)
        except Malformed as error:
            raise PeerError(f"the proof's value is no record: {error}") from None


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom to ask, and what is trusted from the start: a pin, or what an earlier run has left in a file."""

    url: str
    witnesses: tuple[str, ...]
    pin: Pin | None
    trusted: Path | None
    trust_days: int


def verify_by_light(sources: Sources, proof: LightProof | None) -> tuple[dict[str, Any], Any]:
    """What was found, and the proven record. Nothing is kept where anything fails."""
    rpc, others = HttpRpc(sources.url), [HttpRpc(each) for each in sources.witnesses]
    pin, trusted, now_ns = sources.pin, sources.trusted, time.time_ns()
    client = LightClient(Trust(period_ns=sources.trust_days * DAY_NS), Store(KEPT))
    if pin is not None:
        client.pin(fetch(rpc, pin.height), pin.height, pin.hash, now_ns)
    else:
        client.store = _load(trusted)
    height = min(map(newest_height, [rpc, *others])) if proof is None else proof.height + 1
    block, fetched = walk(client, rpc, height, now_ns)
    for other in others:
        walk(client, other, height, now_ns, witness=True)
    if proof is not None:
        believe(client.store, proof.height, proof.key, proof.value, proof.proof)
    if trusted is not None:
        write_private(trusted, encode_store(client.store), replace=True)
    time_ms = block.header.time_ns // MS
    document = {
        "chain": block.header.chain_id, "height": block.height, "hash": block.header.hash.hex(),
        "time": at(time_ms), "is_stale": now_ns // MS - time_ms > STALE_MS, "fetched": fetched,
        "witnesses": len(others),
    }  # fmt: skip
    return document, None if proof is None else proof.record


def _load(path: Path | None) -> Store:
    remedy = "give --height and --hash of a block that an operator told you"
    if path is None:
        raise UsageError("a light client starts from something that is trusted", remedy=remedy)
    try:
        return decode_store(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{path} is not there yet", remedy=remedy) from None
    except (OSError, Malformed) as error:
        raise HostError(f"{path} can't be read: {error}", remedy=f"{remedy}, to start anew") from None
