"""The lab's API client, against a server that says what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zosnet.lab import Api, Refused


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """One answer, to one request, at a unix socket; gives the requests."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(1)

        def serve() -> None:
            stream, _ = server.accept()
            with stream:
                heard.append(whole_request(stream))
                stream.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield heard
        thread.join()


def whole_request(stream: socket.socket) -> bytes:
    """Head and body, which may come in several pieces."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += stream.recv(65_536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    while len(body) < length:
        body += stream.recv(65_536)
    return head + b"\r\n\r\n" + body


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_json_comes_and_goes(tmp_path: Path) -> None:
    with answering(tmp_path / "s", http("200 OK", '{"a": 1}')) as heard:
        assert Api.unix(tmp_path / "s").post("/v1/x", {"b": 2}) == {"a": 1}
    assert heard[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert heard[0].endswith(b'{"b": 2}')


def test_an_empty_answer_is_none(tmp_path: Path) -> None:
    with answering(tmp_path / "s", http("204 No Content", "")):
        assert Api.unix(tmp_path / "s").post("/v1/reload") is None


def test_a_refusal_carries_its_status_and_words(tmp_path: Path) -> None:
    with (
        answering(tmp_path / "s", http("409 Conflict", "no")),
        pytest.raises(Refused, match="409: no") as caught,
    ):
        Api.unix(tmp_path / "s").delete("/v1/peers/x")
    assert caught.value.status == 409


def test_metrics_are_read_by_full_name(tmp_path: Path) -> None:
    page = '# HELP x y\nx_total{kind="a b"} 3\ny 2.5\n'
    with answering(tmp_path / "s", http("200 OK", page)):
        assert Api.unix(tmp_path / "s").metrics() == {'x_total{kind="a b"}': 3.0, "y": 2.5}


def test_nobody_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        Api.unix(tmp_path / "s").get("/")
