"""ABCI's unix socket: a thread for each of CometBFT's connections, answers in the order of the requests."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from zosnet.ledger.comet.abci import Failure, Named, read_requests, response_bytes
from zosnet.ledger.encoding import Malformed
from zosnet.model.errors import HostError

__all__ = ["Server"]

CHUNK = 1 << 18


class Server:
    """Serves requests at `path` until it is closed. What `handle` raises ends CometBFT."""

    def __init__(
        self, path: Path, handle: Callable[[object], object], on_trouble: Callable[[Exception], None]
    ) -> None:
        self._handle, self._on_trouble = handle, on_trouble
        self.path = path
        self._open: set[socket.socket] = set()
        self._is_closed = False
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mask = os.umask(0o177)
            try:
                self._listener.bind(str(path))
            finally:
                os.umask(mask)
            self._listener.listen(8)
        except OSError as error:
            self._listener.close()
            raise HostError(
                f"no socket can be made at {path}: {error}", remedy="use a shorter path"
            ) from None
        threading.Thread(target=self._accept, name="abci", daemon=True).start()

    def close(self) -> None:
        """No more requests."""
        self._is_closed = True
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=[connection], name="abci", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        rest = b""
        try:
            while data := connection.recv(CHUNK):
                requests, taken = read_requests(rest + data)
                rest = (rest + data)[taken:]
                answers: list[bytes] = []
                for request in requests:
                    answers.append(response_bytes(request, self._handle(request)))
                    if request == Named("flush"):
                        connection.sendall(b"".join(answers))
                        answers.clear()
                if answers:
                    connection.sendall(b"".join(answers))
        except (OSError, Malformed) as error:
            if not self._is_closed and isinstance(error, Malformed):
                self._on_trouble(error)
        except Exception as error:  # a bug, or a disk that refuses: CometBFT must not go on without us
            self._on_trouble(error)
            with contextlib.suppress(OSError):
                connection.sendall(response_bytes(Named("flush"), Failure(str(error))))
        finally:
            self._open.discard(connection)
            connection.close()
