"""Ways to an engine: its API on a unix socket, or the same process. Neither checks what it carries."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from zosnet.ledger.comet.signed import parse_signed
from zosnet.ledger.encoding import Malformed, decode
from zosnet.ledger.engine.interface import Answer, Block, Engine, Event, Item, Receipt
from zosnet.ledger.genesis import Genesis
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.tree import Proof
from zosnet.model.errors import HostError, PeerError, UsageError, ZosnetError

T = TypeVar("T")

__all__ = ["HttpTransport", "LocalTransport", "NoLedger", "Transport", "UnixConnection"]


class NoLedger(HostError):
    """Nobody answers on the socket."""


class Transport(Protocol):
    """What a client needs of an engine. Raises PeerError where the other side speaks nonsense."""

    def genesis(self) -> Genesis:
        """What the other side says the ledger started from."""

    def status(self) -> dict[str, Any]:
        """How the other side is, in its own words."""

    def submit(self, transactions: list[bytes]) -> list[Receipt]:
        """Submit an envelope and wait for its receipts."""

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """Records with proofs."""

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers in a row."""

    def block(self, height: int) -> Block | None:
        """A block."""

    def find(self, identity: bytes) -> int | None:
        """Where a transaction is."""

    def events(self, silence_s: float) -> Iterator[Event | None]:
        """The newest header, then each as it comes. Ends, or raises, where the other side is gone."""


class LocalTransport:
    """To an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def genesis(self) -> Genesis:
        """The engine's own."""
        return self._engine.genesis

    def status(self) -> dict[str, Any]:
        """As the API gives it."""
        found = self._engine.status()
        return {
            name: value.hex() if isinstance(value := getattr(found, name), bytes) else value
            for name in type(found).__slots__
        }

    def submit(self, transactions: list[bytes]) -> list[Receipt]:
        """Wait for the receipts."""
        return self._engine.submit(transactions).result()

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """The engine's answer."""
        return self._engine.query(keys, height)

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """The engine's headers."""
        return self._engine.headers(start, limit)

    def block(self, height: int) -> Block | None:
        """The engine's block."""
        return self._engine.block(height)

    def find(self, identity: bytes) -> int | None:
        """The engine's index."""
        return self._engine.find(identity)

    def events(self, silence_s: float) -> Iterator[Event | None]:
        """The newest header, then each as it comes; None after `silence_s` without one."""
        events = self._engine.subscribe()
        try:
            for header in self._engine.headers(self._engine.status().height, 1):
                yield Event(header, ())
            while True:
                yield events.get(silence_s)
        except EOFError:
            return
        finally:
            events.close()


class UnixConnection(http.client.HTTPConnection):
    """HTTP on the socket at `path`."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __del__(self) -> None:
        """A thread that ends leaves its connection."""
        self.close()


class HttpTransport:
    """To the API on the socket at `path`. The questions of a thread share a connection, which saves time.

    A submission has one of its own: where that breaks nobody knows what became of it, and it isn't sent anew.
    """

    def __init__(self, path: str, timeout_s: float = 30.0) -> None:
        self.path = path
        self._timeout = timeout_s
        self._local = threading.local()

    def close(self) -> None:
        """Give this thread's connection back. There is another one with the next question."""
        if kept := self._local.__dict__.pop("connection", None):
            kept.close()

    def is_running(self) -> bool:
        """Whether a ledger answers."""
        try:
            self.status()
        except ZosnetError:
            return False
        return True

    def genesis(self) -> Genesis:
        """As the other side says."""
        found = self._ask("GET", "/v1/ledger/genesis")
        return _decoded(Genesis, _hex(found, "genesis"))

    def status(self) -> dict[str, Any]:
        """As the other side says."""
        found: dict[str, Any] = self._ask("GET", "/v1/ledger/status")
        return found

    def submit(self, transactions: list[bytes]) -> list[Receipt]:
        """Wait for the receipts."""
        body = {"transactions": [raw.hex() for raw in transactions]}
        found = self._ask("POST", "/v1/ledger/transactions", body, is_question=False)
        return [
            Receipt(_hex(each, "id"), each["reason"], each["text"], each["height"], each["epoch"])
            for each in found["receipts"]
        ]

    def query(self, keys: list[bytes], height: int | None = None) -> Answer:
        """Records with proofs, not checked yet."""
        found = self._ask("POST", "/v1/ledger/query", {"keys": [key.hex() for key in keys], "height": height})
        items = tuple(
            Item(
                _hex(each, "key"),
                None if each["value"] is None else _hex(each, "value"),
                _decoded(Proof, _hex(each, "proof")),
            )
            for each in found["items"]
        )
        return Answer(_header(_hex(found, "header")), items)

    def headers(self, start: int, limit: int) -> list[SignedHeader]:
        """Headers, not checked yet."""
        found = self._ask("GET", f"/v1/ledger/headers?start={start}&limit={limit}")
        return [_header(bytes.fromhex(raw)) for raw in found["headers"]]

    def block(self, height: int) -> Block | None:
        """A block, not checked yet."""
        found = self._ask("GET", f"/v1/ledger/blocks/{height}")
        if found is None:
            return None
        raws = tuple(bytes.fromhex(raw) for raw in found["transactions"])
        return Block(_header(_hex(found, "header")), raws)

    def find(self, identity: bytes) -> int | None:
        """Where the other side says that a transaction is."""
        found = self._ask("GET", f"/v1/ledger/transactions/{identity.hex()}")
        return None if found is None else int(found["height"])

    def events(self, silence_s: float) -> Iterator[Event | None]:
        """Each header as it comes. Raises NoLedger after `silence_s` without one: they come every 5 s."""
        connection = UnixConnection(self.path, silence_s)
        try:
            connection.request("POST", "/v1/ledger/subscribe")
            for line in connection.getresponse():
                found = json.loads(line)
                yield Event(
                    _header(_hex(found, "header")),
                    tuple(bytes.fromhex(key) for key in found["changed"]),
                )
        except (OSError, http.client.HTTPException) as error:
            raise NoLedger(f"the ledger at {self.path} is gone: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise PeerError(f"the ledger speaks nonsense: {error}") from None
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: Any = None, *, is_question: bool = True) -> Any:
        payload = None if body is None else json.dumps(body).encode()
        try:
            status, answer = self._exchange(method, path, payload, is_question)
            found = json.loads(answer)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoLedger(
                f"no ledger answers at {self.path}", remedy="start one with `zosnet ledger dev`"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise HostError(f"the ledger at {self.path} broke off: {error}") from None
        except ValueError:
            raise PeerError("the ledger speaks nonsense: that is not JSON") from None
        if status == 404:
            return None
        if status >= 400:
            raise _failure(found.get("error", {}))
        return found

    def _exchange(
        self, method: str, path: str, payload: bytes | None, is_question: bool
    ) -> tuple[int, bytes]:
        kept: UnixConnection | None = self._local.__dict__.pop("connection", None) if is_question else None
        if kept is not None:
            with suppress(ConnectionError, http.client.HTTPException):  # it was closed while it was idle
                return self._once(kept, method, path, payload, is_question)
        return self._once(UnixConnection(self.path, self._timeout), method, path, payload, is_question)

    def _once(
        self, connection: UnixConnection, method: str, path: str, payload: bytes | None, is_kept: bool
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        if is_kept:
            self._local.connection = connection
        else:
            connection.close()
        return response.status, answer


def _failure(error: dict[str, Any]) -> ZosnetError:
    kinds: dict[str, type[ZosnetError]] = {"usage": UsageError, "peer": PeerError}
    kind = kinds.get(error.get("kind", ""), HostError)
    return kind(str(error.get("message", "the ledger refused")), remedy=str(error.get("remedy", "")))


def _hex(document: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(document[name])
    except (KeyError, TypeError, ValueError):
        raise PeerError(f"the ledger speaks nonsense: {name} is not there") from None


def _decoded(kind: type[T], raw: bytes) -> T:
    try:
        return decode(kind, raw)
    except Malformed as error:
        raise PeerError(f"the ledger speaks nonsense: {error}") from None


@lru_cache(maxsize=4)  # many questions in a row are answered as of the same one
def _header(raw: bytes) -> SignedHeader:
    try:
        return parse_signed(raw)
    except Malformed as error:
        raise PeerError(f"the ledger speaks nonsense: {error}") from None
