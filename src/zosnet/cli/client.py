"""Talking to the node over its unix socket, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zosnet.model.errors import HostError, PeerError, UsageError, ZosnetError

__all__ = ["Client", "NotRunning", "Refused"]

_START = "start a node with `zosnet up`, or name its socket with --socket or ZOSNET_SOCKET"


class NotRunning(HostError):
    """Nobody answers on the socket."""


class Refused(ZosnetError):
    """The node's answer is no: exit code 1. `status` is the HTTP status that told so."""

    def __init__(self, message: str, *, remedy: str = "", status: int = 404) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


_KINDS: dict[str, type[ZosnetError]] = {"usage": UsageError, "host": HostError, "peer": PeerError}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Requests to the node that listens on the socket at `path`. Each is one connection."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, path: str, *, timeout: float | None = 30.0) -> Any:
        """The decoded answer; None for "there is none". Raises by the answer's kind of error."""
        return self._request("GET", path, None, timeout)

    def post(self, path: str, body: Any = None, *, timeout: float | None = 30.0) -> Any:
        """As `get`, with a body."""
        return self._request("POST", path, body, timeout)

    def delete(self, path: str) -> Any:
        """As `get`."""
        return self._request("DELETE", path, None, 30.0)

    def text(self, path: str) -> str:
        """An answer that is not JSON."""
        with self._open("GET", path, None, 30.0) as response:
            return _checked(response).decode()

    def stream(self, path: str, body: Any, *, timeout: float | None = None) -> Iterator[Any]:
        """Each line of a streamed answer, as it comes."""
        with self._open("POST", path, body, timeout) as response:
            if response.status >= 400:
                _checked(response)
            for line in response:
                item = json.loads(line)
                if "error" in item:
                    raise _failure(item, response.status)
                yield item

    def is_running(self) -> bool:
        """Whether a node answers."""
        try:
            self.get("/v1/key", timeout=2.0)
        except ZosnetError:
            return False
        return True

    def _request(self, method: str, path: str, body: Any, timeout: float | None) -> Any:
        with self._open(method, path, body, timeout) as response:
            raw = _checked(response)
            return json.loads(raw) if raw else None

    @contextmanager
    def _open(
        self, method: str, path: str, body: Any, timeout: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, timeout)
        payload = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, payload, headers)
            yield connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"no node is running at {self.path}", remedy=_START) from None
        except PermissionError:
            raise HostError(
                f"{self.path} may not be opened", remedy="use sudo, or the node's own user"
            ) from None
        except TimeoutError:
            raise HostError("the node did not answer in time", remedy="look at its log") from None
        except (OSError, http.client.HTTPException) as error:
            raise HostError(f"the node broke the connection: {error}", remedy="look at its log") from None
        finally:
            connection.close()


def _checked(response: http.client.HTTPResponse) -> bytes:
    raw = response.read()
    if response.status < 400:
        return raw
    try:
        document = json.loads(raw)
    except ValueError:
        document = {}
    raise _failure(document, response.status)


def _failure(document: dict[str, Any], status: int) -> ZosnetError:
    error = document.get("error", {})
    message = error.get("message", f"the node answered with HTTP status {status}")
    kind = _KINDS.get(error.get("kind", "host"))
    if kind is None:
        return Refused(message, remedy=error.get("remedy", ""), status=status)
    return kind(message, remedy=error.get("remedy", ""))
