"""ABCI's unix socket: a thread for each of CometBFT's connections, answers in the order of the requests."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from zosnet.ledger.comet.abci import Failure, Named, read_requests, response_bytes
from zosnet.ledger.encoding import Malformed
from zosnet.model.errors import HostError

__all__ = ["Server"]

CHUNK = 1 << 18
#: So long after a connection that could not be taken, for want of descriptors, the next one is. A guess.
PAUSE_S = 0.1


class Server:
    """Serves requests at `path` until it is closed. What `handle` raises ends CometBFT."""

    def __init__(
        self, path: Path, handle: Callable[[object], object], on_trouble: Callable[[Exception], None]
    ) -> None:
        self._handle, self._on_trouble = handle, on_trouble
        self.path = path
        self._open: dict[socket.socket, threading.Thread] = {}
        self._is_closed = False
        self._accepting = threading.Thread(target=self._accept, name="abci", daemon=True)
        with ExitStack() as opened:
            try:
                path.unlink(missing_ok=True)
                self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                opened.callback(self._listener.close)
                mask = os.umask(0o177)
                try:
                    self._listener.bind(str(path))
                finally:
                    os.umask(mask)
                opened.callback(path.unlink, missing_ok=True)
                self._listener.listen(8)
            except OSError as error:
                raise HostError(
                    f"no socket can be made at {path}: {error}", remedy="use a shorter path"
                ) from None
            self._accepting.start()
            opened.pop_all()

    def close(self) -> None:
        """No more requests. The one under way is answered, or at least carried out."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection, thread in list(self._open.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._is_closed:
                    return
                self._on_trouble(error)  # CometBFT, which goes without us, comes again
                time.sleep(PAUSE_S)
                continue
            thread = threading.Thread(target=self._serve, args=[connection], name="abci", daemon=True)
            self._open[connection] = thread
            thread.start()

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
            self._open.pop(connection, None)
            connection.close()
