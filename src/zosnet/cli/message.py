"""`zosnet message`: messages from node to node."""

from __future__ import annotations

import base64
import binascii
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from zosnet.cli.client import Client
from zosnet.cli.common import json_option, node_of
from zosnet.cli.output import progress, say, show_json, waiting
from zosnet.model.errors import HostError, PeerError, UsageError

__all__ = ["message"]

# How long one request waits before it asks again, so that an interrupt is heard and a bar moves.
STEP = 0.5
LONG_STEP = 30.0


@click.group()
def message() -> None:
    """Send messages to other nodes, and receive those that came."""


@message.command()
@click.option("-w", "--wait", is_flag=True, help="Wait for a reply and print it.")
@click.option(
    "--timeout", type=click.FloatRange(0, 86400), help="Seconds to wait; without it, as long as it takes."
)
@click.option("-t", "--topic", default="", help="The topic, up to 255 bytes.")
@click.option(
    "--msg-path", type=click.Path(dir_okay=False), help="Send the content of this file (- is standard input)."
)
@click.option("--reply-to", metavar="ID", help="This is the reply to the message with that id.")
@json_option
@click.argument("destination")
@click.argument("text", required=False)
@click.pass_context
def send(
    ctx: click.Context,
    /,
    *,
    wait: bool,
    timeout: float | None,
    topic: str,
    msg_path: str | None,
    reply_to: str | None,
    as_json: bool,
    destination: str,
    text: str | None,
) -> int:
    """Send TEXT, or a file, to DESTINATION: an overlay address or a public key.

    Waits until the other node has it, and prints the message's id. Exit code 4 when it gave no sign in time.
    """
    payload = _payload(text, msg_path)
    body = {
        "public_key" if _is_key(destination) else "address": destination,
        "payload": base64.b64encode(payload).decode(),
        "topic": base64.b64encode(topic.encode()).decode(),
        "reply_to": reply_to,
    }
    node = node_of(ctx)
    started = time.monotonic()
    sent = node.post("/v1/messages", body, timeout=None)
    state = _delivered(node, sent["id"], len(payload), timeout)
    if not wait:
        show_json(state) if as_json else say(sent["id"])
        return 0
    left = None if timeout is None else max(timeout - (time.monotonic() - started), 0.0)
    return _await_reply(node, sent["id"], left, as_json)


def _delivered(node: Client, identifier: str, length: int, timeout: float | None) -> dict[str, Any]:
    """Wait until the other side has the message. Raises PeerError when it doesn't in time."""
    end = None if timeout is None else time.monotonic() + timeout
    with progress(f"sending {length} bytes", length) as show:
        while True:
            state: dict[str, Any] = node.get(f"/v1/messages/{identifier}?timeout={STEP}")
            total = state["pending"] + state["sent"] + state["acknowledged"]
            show(length * state["acknowledged"] / total if total else 0)
            if state["state"] in {"received", "read"}:
                return state
            if state["state"] == "aborted" or (end is not None and time.monotonic() >= end):
                raise PeerError(
                    f"message {identifier} was not acknowledged",
                    remedy="see with `zosnet ping` whether the node can be reached; it may refuse the topic",
                )


def _await_reply(node: Client, identifier: str, timeout: float | None, as_json: bool) -> int:
    end = None if timeout is None else time.monotonic() + timeout
    with waiting("waiting for the reply"):
        while True:
            step = LONG_STEP if end is None else max(min(end - time.monotonic(), LONG_STEP), 0.0)
            query = urlencode({"reply_to": identifier, "timeout": step})
            found = node.get(f"/v1/messages?{query}", timeout=step + 30)
            if found is not None:
                break
            if end is not None and time.monotonic() >= end:
                raise PeerError(f"no reply to {identifier} came in time", remedy="wait longer with --timeout")
    _show(found, as_json, None, raw=False)
    return 0


@message.command()
@click.option(
    "--timeout", type=click.FloatRange(0, 86400), help="Seconds to wait; without it, as long as it takes."
)
@click.option("-t", "--topic", help="Only messages on this topic.")
@click.option("--msg-path", type=click.Path(dir_okay=False), help="Write the payload into this file.")
@click.option("--raw", is_flag=True, help="Print the payload alone, as it came.")
@json_option
@click.pass_context
def receive(
    ctx: click.Context,
    /,
    *,
    timeout: float | None,
    topic: str | None,
    msg_path: str | None,
    raw: bool,
    as_json: bool,
) -> int:
    """Take the next message that came and print it. Exit code 1 when none came in time."""
    node = node_of(ctx)
    end = None if timeout is None else time.monotonic() + timeout
    with waiting("waiting for a message"):
        while True:
            step = LONG_STEP if end is None else max(min(end - time.monotonic(), LONG_STEP), 0.0)
            query = {"timeout": step} | ({} if topic is None else {"topic": base64.b64encode(topic.encode())})
            found = node.get(f"/v1/messages?{urlencode(query)}", timeout=step + 30)
            if found is not None:
                break
            if end is not None and time.monotonic() >= end:
                click.echo("no message came", err=True)
                return 1
    _show(found, as_json, msg_path, raw=raw)
    return 0


def _show(found: dict[str, Any], as_json: bool, path: str | None, *, raw: bool) -> None:
    payload = base64.b64decode(found["payload"])
    if path is not None:
        _write(path, payload)
    if raw:
        if path is None:
            sys.stdout.buffer.write(payload)
            sys.stdout.buffer.flush()
    elif as_json:
        show_json(found if path is None else found | {"payload": None, "path": path})
    else:
        say(f"id: {found['id']}{' (a reply)' if found['is_reply'] else ''}")
        say(f"from: {found['source_address']} {found['source_key']}")
        if found["topic"]:
            say(f"topic: {_readable(base64.b64decode(found['topic']))}")
        say(_readable(payload) if path is None else f"{len(payload)} bytes written to {path}")


def _readable(content: bytes) -> str:
    """Text as it is, anything else as hexadecimal digits: a stranger's bytes never steer the terminal."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content.hex()
    return text if all(letter.isprintable() or letter in "\n\t" for letter in text) else content.hex()


def _payload(text: str | None, path: str | None) -> bytes:
    if (text is None) == (path is None):
        raise UsageError("say what to send: a text or --msg-path", remedy="one of them, not both")
    if text is not None:
        return text.encode()
    assert path is not None
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise HostError(
            f"{path} can't be read: {error.strerror}", remedy="check the path and its permissions"
        ) from None


def _write(path: str, content: bytes) -> None:
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise HostError(
            f"{path} can't be written: {error.strerror}",
            remedy="check the path, its permissions and the free space",
        ) from None


def _is_key(text: str) -> bool:
    try:
        return len(binascii.unhexlify(text)) == 32
    except (binascii.Error, ValueError):
        return False
