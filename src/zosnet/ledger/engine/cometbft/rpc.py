"""Questions to a CometBFT node: JSON-RPC 2.0 over its unix socket. One connection for each thread.

A node that is stopped keeps its socket, and whoever asks waits. So once it let a question's time pass it
counts as silent until it answers one: clients' questions fail at once meanwhile, and the thread that follows
the headers goes on asking.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
from pathlib import Path
from typing import Any

from zosnet.ledger.client.transport import UnixConnection
from zosnet.model.errors import HostError, PeerError

__all__ = ["BROADCAST_S", "TIMEOUT_S", "Refusal", "Rpc", "Silent"]

#: It reads answers from its disk: some milliseconds. A guess, for a machine that is busy.
TIMEOUT_S = 3.0
#: What is broadcast is judged first, by our application, which may be at a block. A guess.
BROADCAST_S = 10.0


class Refusal(PeerError):
    """The node answers, and says no."""


class Silent(HostError):
    """The node is there and lets the time pass. What it was asked to do it may still do."""

    def __init__(self) -> None:
        super().__init__(
            "CometBFT doesn't answer, though it runs",
            remedy="look whether it is stopped, or the disk is; once it is killed it is started anew",
        )


class Rpc:
    """To the node whose socket is at `path`. Raises HostError where it isn't there, Silent where it is."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path, self._timeout = path, timeout_s
        self._local = threading.local()
        self.is_silent = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One question. Integers go as texts, as the node wants them. Raises Refusal where it says no."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        try:
            found = json.loads(self._ask("POST", "/", body))
        except ValueError:
            raise HostError("CometBFT's answer is not JSON") from None
        if error := found.get("error"):
            raise Refusal(f"CometBFT refuses {method}: {error.get('data') or error.get('message')}")
        result: dict[str, Any] = found.get("result") or {}
        return result

    def broadcast(self, envelope: bytes) -> str:
        """Put an envelope into the mempool: "" where it waits there, else why not."""
        found = self.call("broadcast_tx_sync", tx=base64.b64encode(envelope).decode())
        return "" if found["code"] == 0 else str(found["log"] or "refused")

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """A block's, for a client: not asked for while the node is silent."""
        if self.is_silent:
            raise Silent
        found = self.call("block", height=str(height))
        return tuple(base64.b64decode(each) for each in found["block"]["data"]["txs"] or ())

    def get(self, path: str) -> bytes:
        """The answer to a question that is asked as an address."""
        return self._ask("GET", path, None)

    def pulse(self) -> None:
        """Ask for nothing, to learn whether it answers."""
        self.get("/health")

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        for attempt in (1, 2):
            connection: UnixConnection | None = getattr(self._local, "connection", None)
            is_old = connection is not None
            if connection is None:
                connection = self._local.connection = UnixConnection(str(self._path), self._timeout)
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                answer = connection.getresponse().read()
            except TimeoutError:
                self.close()
                self.is_silent = True
                raise Silent from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not (is_old and attempt == 1):
                    raise HostError(f"CometBFT doesn't answer: {error}") from None
            else:
                self.is_silent = False
                return answer
        raise AssertionError("never")

    def close(self) -> None:
        """Give this thread's connection back."""
        connection: UnixConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()
        self._local.connection = None
