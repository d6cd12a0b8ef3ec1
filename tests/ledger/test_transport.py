"""Questions over a socket: connections are kept, or closed by the other side; a submission is sent once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zosnet.ledger.client.transport import HttpTransport
from zosnet.model.errors import HostError

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"height": 7}'


class Server:
    """Answers two questions on a connection, then closes it; and none of a submission."""

    def __init__(self, path: Path) -> None:
        self.requests: list[list[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines:
                self.requests.append([])
                for _ in range(2):
                    line = lines.readline()
                    if line.startswith(b"END"):
                        return
                    if not line:
                        break
                    self.requests[-1].append(line.split()[0])
                    while lines.readline() != b"\r\n":
                        pass
                    if line.startswith(b"POST"):
                        break
                    connection.sendall(ANSWER)

    def close(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
            last.connect(str(path))
            last.sendall(b"END\r\n")
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Server, HttpTransport]]:
    path = tmp_path / "socket"
    server, way = Server(path), HttpTransport(str(path), timeout_s=10)
    yield server, way
    way.close()
    server.close(path)


def test_questions_share_a_connection_until_the_other_side_closes_it(
    served: tuple[Server, HttpTransport],
) -> None:
    server, way = served
    assert [way.status()["height"] for _ in range(5)] == [7] * 5
    way.close()
    assert way.status()["height"] == 7
    assert server.requests == [[b"GET", b"GET"], [b"GET", b"GET"], [b"GET"], [b"GET"]]


def test_a_submission_that_breaks_off_is_not_sent_again(served: tuple[Server, HttpTransport]) -> None:
    server, way = served
    way.status()
    way.status()
    with pytest.raises(HostError, match="broke off"):
        way.submit([b"a transaction"])
    assert server.requests == [[b"GET", b"GET"], [b"POST"]]
