"""CometBFT's directory: its configuration, genesis and keys, written from the ledger's own.

All of it is written anew at each start, but for the state of the validator's key, which must never go back.
"""

from __future__ import annotations

import base64
import json
import os
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from zosnet.ledger.comet.envelope import MOST_BYTES
from zosnet.ledger.comet.signed import chain_name
from zosnet.ledger.engine.cometbft.mempool import MOST_ENVELOPE_BYTES, MOST_ENVELOPES, MOST_OWN
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.signature import Signer
from zosnet.ledger.transaction import LARGEST
from zosnet.model.errors import HostError

__all__ = ["Home", "Peer", "Timing", "node_id"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another operator's node: who it must prove to be, and where it listens (HOST:PORT)."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The engine's pace, in milliseconds. What was measured is in docs/decisions/0010-cometbft.md."""

    commit: int = 100
    """Between a block and the next: for votes that are late, and for what shares the next block."""
    gossip_sleep: int = 25
    propose: int = 1000
    """So long a proposer is waited for: what a dead one costs."""
    vote: int = 500
    idle: int = 4000
    """An empty block comes after this long without another, so that with slow votes none is 5 s away."""


@dataclass(frozen=True, slots=True)
class Home:
    """One node's directory, sockets and ways."""

    directory: Path
    genesis: Genesis
    operator: Signer
    node: Signer
    listen: str
    """HOST:PORT, for the other operators' nodes."""
    peers: tuple[Peer, ...] = ()
    timing: Timing = Timing()

    @property
    def abci(self) -> Path:
        """The application's socket."""
        return self.directory / "abci.sock"

    @property
    def rpc(self) -> Path:
        """CometBFT's socket."""
        return self.directory / "rpc.sock"

    def write(self) -> None:
        """Write what CometBFT reads. Raises HostError."""
        try:
            for name in ("config", "data"):
                (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._put("config/config.toml", self._config())
            self._put("config/genesis.json", json.dumps(self._genesis(), indent=1))
            self._put("config/node_key.json", json.dumps({"priv_key": _secret(self.node)}))
            self._put("config/priv_validator_key.json", json.dumps(self._validator_key()))
            state = self.directory / "data/priv_validator_state.json"
            if not state.exists():
                self._put(
                    "data/priv_validator_state.json", json.dumps({"height": "0", "round": 0, "step": 0})
                )
        except OSError as error:
            raise HostError(
                f"CometBFT's directory {self.directory} can't be written: {error.strerror}",
                remedy="make room on its disk, and check its permissions",
            ) from None

    def _put(self, name: str, text: str) -> None:
        path = self.directory / name
        part = path.with_name(path.name + ".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as out:  # noqa: PTH123
            out.write(text)
        part.replace(path)

    def _validator_key(self) -> dict[str, Any]:
        return {
            "address": _address(self.operator.public).upper(),
            "pub_key": _public(self.operator.public),
            "priv_key": _secret(self.operator),
        }

    def _genesis(self) -> dict[str, Any]:
        """The same on every node: it has nothing that the ledger's genesis doesn't have."""
        seconds, ms = divmod(self.genesis.time_ms, 1000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return {
            "genesis_time": f"{moment}.{ms:03d}Z",
            "chain_id": chain_name(self.genesis),
            "initial_height": "1",
            "consensus_params": {
                "block": {"max_bytes": str(4 << 20), "max_gas": "-1"},
                "evidence": {
                    "max_age_num_blocks": "1000000",
                    "max_age_duration": str(14 * 86_400 * 10**9),
                    "max_bytes": "65536",
                },
                "validator": {"pub_key_types": ["ed25519"]},
                "version": {"app": "1"},
                "abci": {"vote_extensions_enable_height": "0"},
            },
            "validators": [
                {"address": _address(key).upper(), "pub_key": _public(key), "power": "1", "name": ""}
                for key in self.genesis.operators
            ],
            "app_hash": "",
        }

    def _config(self) -> str:
        """What differs from CometBFT's own defaults."""
        timing = self.timing
        peers = ",".join(f"{peer.id}@{peer.address}" for peer in self.peers)
        return f"""\
# Written anew at each start of `zosnet ledger start`: changes here are lost.
proxy_app = "unix://{self.abci}"
abci = "socket"
moniker = "zosnet"
log_level = "error"
[rpc]
laddr = "unix://{self.rpc}"
[p2p]
laddr = "tcp://{self.listen}"
persistent_peers = "{peers}"
persistent_peers_max_dial_period = "2s"
addr_book_strict = false
allow_duplicate_ip = true
pex = false
flush_throttle_timeout = "5ms"
[mempool]
type = "flood"
recheck = true
size = {MOST_ENVELOPES + MOST_OWN}
max_txs_bytes = {MOST_ENVELOPE_BYTES + MOST_OWN * (LARGEST + 5)}
max_tx_bytes = {MOST_BYTES}
[consensus]
timeout_propose = "{timing.propose}ms"
timeout_propose_delta = "250ms"
timeout_prevote = "{timing.vote}ms"
timeout_prevote_delta = "250ms"
timeout_precommit = "{timing.vote}ms"
timeout_precommit_delta = "250ms"
timeout_commit = "{timing.commit}ms"
create_empty_blocks = true
create_empty_blocks_interval = "{timing.idle}ms"
peer_gossip_sleep_duration = "{timing.gossip_sleep}ms"
double_sign_check_height = 0
[tx_index]
indexer = "null"
"""


def node_id(node: bytes) -> str:
    """How CometBFT calls the node with this key."""
    return _address(node)


def _address(public: bytes) -> str:
    return sha256(public).hexdigest()[:40]


def _public(raw: bytes) -> dict[str, str]:
    return {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(raw).decode()}


def _secret(signer: Signer) -> dict[str, str]:
    value = base64.b64encode(signer.raw + signer.public).decode()
    return {"type": "tendermint/PrivKeyEd25519", "value": value}
