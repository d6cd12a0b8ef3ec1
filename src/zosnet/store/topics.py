"""The file that says who may send messages on which topics, in Mycelium's form.

    default = "Accept"                          # or "Reject", of topics that aren't listed

    [greet]
    subnets = ["5a6:f0c6:f365:177d::/64"]       # whose messages are taken; a bare address is one host
    forward_socket = "/run/greeter.sock"        # optional: the program that gets them

The older form `greet = ["5a6:…::/64"]` is read too. Mycelium ignores a file that it can't read; here it is an
error.
"""

import tomllib
from pathlib import Path
from typing import Any

from zosnet.message import TopicPolicy, TopicRule
from zosnet.model import Prefix, UsageError
from zosnet.store.settings import read_text

_DEFAULTS = {"accept": True, "reject": False}
_KEYS = {"subnets", "forward_socket"}


def load_topics(path: Path) -> TopicPolicy:
    """The topics of a file. Raises HostError if it cannot be read, UsageError if it makes no sense."""
    text = read_text(path, "the topic file")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", remedy="write it as TOML: one table for each topic") from None
    default = table.pop("default", "Accept")
    if not isinstance(default, str) or default.lower() not in _DEFAULTS:
        raise UsageError(f"{path}, default: {default!r} is unknown", remedy='write "Accept" or "Reject"')
    rules = {name.encode(): _rule(f"{path}, topic {name!r}", raw) for name, raw in table.items()}
    return TopicPolicy(_DEFAULTS[default.lower()], rules)


def _rule(where: str, raw: Any) -> TopicRule:
    if isinstance(raw, list):
        raw = {"subnets": raw}
    if not isinstance(raw, dict) or not raw.keys() <= _KEYS:
        raise UsageError(f"{where}: not a topic", remedy="a topic is a table with subnets and forward_socket")
    socket = raw.get("forward_socket")
    if socket is not None and (not isinstance(socket, str) or not socket.startswith("/")):
        raise UsageError(f"{where}: {socket!r} is no absolute path", remedy='write forward_socket = "/path"')
    return TopicRule(_subnets(where, raw.get("subnets", [])), socket)


def _subnets(where: str, raw: Any) -> tuple[Prefix, ...]:
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        raise UsageError(f"{where}: subnets are no list of texts", remedy='write subnets = ["5a6:f0c6::/64"]')
    try:
        return tuple(Prefix.parse(text) for text in raw)
    except UsageError as error:
        raise UsageError(f"{where}: {error}", remedy=error.remedy) from None
