"""A client of a node's API for the lab: HTTP over a unix socket or a host's own TCP, JSON in and out."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zosnet.lab.errors import LabError


class Refused(LabError):
    """The API answered with an error; `status` is HTTP's, `body` what it sent."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"the API answered {status}: {body[:500]}")
        self.status = status
        self.body = body


class _Connection(http.client.HTTPConnection):
    """A connection over whatever socket `opened` gives."""

    def __init__(self, opened: Callable[[], socket.socket], timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._opened = opened

    def connect(self) -> None:
        self.sock = self._opened()
        self.sock.settimeout(self.timeout)


class Api:
    """Calls to one node. Each has a connection of its own, so a node may restart in between.

    Raises OSError while nobody listens, `Refused` when the answer is an error.
    """

    def __init__(self, opened: Callable[[], socket.socket], timeout: float = 10.0) -> None:
        self._opened = opened
        self._timeout = timeout

    @classmethod
    def unix(cls, path: Path) -> Api:
        """Over the unix socket at `path`."""

        def opened() -> socket.socket:
            each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                each.connect(str(path))
            except OSError:
                each.close()
                raise
            return each

        return cls(opened)

    def text(self, method: str, path: str, body: object = None) -> str:
        connection = _Connection(self._opened, self._timeout)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise Refused(answer.status, text)
        return text

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return json.loads(self.text("GET", path))

    def post(self, path: str, body: object = None) -> Any:
        text = self.text("POST", path, body if body is not None else {})
        return json.loads(text) if text.strip() else None

    def delete(self, path: str) -> None:
        self.text("DELETE", path)

    def metrics(self) -> dict[str, float]:
        """The Prometheus page: each sample under its full name, labels included."""
        samples = {}
        for line in self.text("GET", "/metrics").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples
