"""What the operator wants. Every option is declared here, once; loading, help and reference derive from it.

Four sources, each winning over the one before: the default, the settings file, the environment, the command
line. A list isn't joined with that of a weaker source, it replaces it. A file of Mycelium's loads as it is,
but for the parts of Mycelium that zosnet doesn't have.
"""

# The calls in the dataclass's defaults are declarations: `option` returns a dataclasses.field.
# ruff: noqa: RUF009

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zosnet.access import Rule, Source
from zosnet.model import Endpoint, HostError, ListenAddress, PublicKey, UsageError
from zosnet.model.endpoint import DEFAULT_UDP_PORT
from zosnet.store import places
from zosnet.store.option import (
    ENDPOINTS,
    INTERFACE,
    INTERFACES,
    KEYS,
    LISTEN,
    PATH,
    PORT,
    RULES,
    SOURCES,
    SWITCH,
    Option,
    choice,
    number,
    option,
    options_of,
)
from zosnet.store.places import socket_path

__all__ = ["OPTIONS", "Settings", "load", "socket_path"]

KEY_FILE_NAME = "priv_key.bin"
PINS_FILE_NAME = "pins.json"
_MEBIBYTE = 1024 * 1024
_MAX_FILE_BYTES = _MEBIBYTE

#: Automatic lanes stop here: a node seldom has more than four busy links.
_MOST_AUTOMATIC_LANES = 4

#: Keys of Mycelium's that we don't have, and what to tell who uses one. Their values don't matter.
_MISSING = {
    "cdn_cache": "zosnet has no CDN",
    "enable_dns": "zosnet has no DNS forwarder",
    "jsonrpc_addr": "zosnet has no JSON-RPC; its HTTP API is at `api_addr`",
    "network_key_file": "zosnet has no TLS-PSK private networks yet",
    "network_name": "zosnet has no TLS-PSK private networks yet",
    "vsock_listen_port": "zosnet has no vsock links yet",
}
#: A key of Mycelium's without a meaning here: how many threads compute its updates.
_IGNORED = {"update_workers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator wants of a node. Made by `load`; the bare constructor gives the defaults."""

    peers: tuple[Endpoint, ...] = option(
        ENDPOINTS,
        "--peers",
        default=(),
        help="Peers to dial and to keep dialling, `tcp://`, `quic://` or `udp://`; see [links](links.md).",
    )
    tcp_listen_port: int = option(
        PORT,
        "--tcp-listen-port",
        "-t",
        default=9651,
        help="Where peers reach this node by TCP; 0 takes a free port.",
    )
    quic_listen_port: int = option(
        PORT, "--quic-listen-port", "-q", default=9651, help="Where peers reach this node by QUIC, over UDP."
    )
    disable_quic: bool = option(
        SWITCH, "--disable-quic", default=False, help="Neither listen nor dial by QUIC."
    )
    udp_listen_port: int = option(
        PORT,
        "--udp-listen-port",
        default=DEFAULT_UDP_PORT,
        help="Where peers reach this node by zosnet's own datagram links; 0 takes a free port.",
    )
    disable_udp: bool = option(
        SWITCH, "--disable-udp", default=False, help="Neither listen nor dial by `udp://`."
    )
    max_link_mtu: int = option(
        number(1280, 65535),
        "--max-link-mtu",
        default=1500,
        unit="bytes",
        help="The largest IP packet that a `udp://` link tries to send; more only for jumbo frames.",
    )
    no_session_suite: bool = option(
        SWITCH,
        "--no-session-suite",
        default=False,
        help="Speak only Mycelium's sessions, without forward secrecy, to all nodes. For comparisons.",
    )
    no_repair: bool = option(
        SWITCH,
        "--no-repair",
        default=False,
        help="Don't send an eighth to a half more over `udp://` links that lose packets, to give these back.",
    )
    peer_discovery_port: int = option(
        PORT,
        "--peer-discovery-port",
        default=9650,
        help="The UDP port of the beacons that find peers on the LAN.",
    )
    disable_peer_discovery: bool = option(
        SWITCH, "--disable-peer-discovery", default=False, help="Neither send nor hear beacons on the LAN."
    )
    peer_discovery_interfaces: tuple[str, ...] = option(
        INTERFACES,
        "--peer-discovery-interface",
        default=(),
        default_text="all",
        help="Look for peers on these interfaces only.",
    )
    allow_inbound: str = option(
        choice("none", "all"),
        "--allow-inbound",
        default="none",
        help="What may come in over the overlay unasked: `none` but pings and what `allow` and"
        " `allow_messages` say; or `all`, as Mycelium has it.",
    )
    allow: tuple[Rule, ...] = option(
        RULES,
        "--allow",
        default=(),
        help="Who may reach what on this host, such as `tcp/22 from key:…` or `udp/53 from 5a6:…::/64`;"
        " see [access.md](access.md). In the environment they are parted by semicolons.",
    )
    allow_messages: tuple[Source, ...] = option(
        SOURCES,
        "--allow-messages",
        default=(),
        help="Whose messages are taken: `any`, `key:…` or a prefix. Replies to one's own always are.",
    )
    allow_links: tuple[PublicKey, ...] = option(
        KEYS,
        "--allow-links",
        default=(),
        default_text="none: anyone",
        help="The public keys of those who may link to this node.",
    )
    key_file: Path | None = option(
        PATH,
        "--key-file",
        "-k",
        default_text=f"`{KEY_FILE_NAME}` in the state directory",
        help="The node's secret key: 32 bytes, as Mycelium's, with mode 0600. Made at the first start.",
    )
    api_addr: ListenAddress | None = option(
        LISTEN, "--api-addr", help="Serve the HTTP API there too. It asks nobody who they are: keep it local."
    )
    metrics_api_address: ListenAddress | None = option(
        LISTEN, "--metrics-api-address", help="Serve Prometheus metrics there, at `/metrics`."
    )
    no_tun: bool = option(
        SWITCH,
        "--no-tun",
        default=False,
        help="Make no TUN device: the node relays and handles messages only.",
    )
    tun_name: str = option(INTERFACE, "--tun-name", default="zosnet", help="The name of the TUN device.")
    mtu: int = option(
        number(1280, 65503),
        "--mtu",
        default=1360,
        unit="bytes",
        help="The MTU of the TUN device. More than 1360 breaks stock QUIC links on the way.",
    )
    firewall_mark: int = option(
        number(0, 0xFFFF_FFFF),
        "--firewall-mark",
        default=0,
        default_text="0: none",
        help="Mark the node's own packets with it (SO_MARK), for the host's routing rules.",
    )
    topic_config: Path | None = option(
        PATH, "--topic-config", help="Who may send messages on which topics: a TOML file, as Mycelium's."
    )
    message_limit: int = option(
        number(1, 1024 * _MEBIBYTE),
        "--message-limit",
        default=16 * _MEBIBYTE,
        unit="bytes",
        help="The longest message that the node sends or takes.",
    )
    state_dir: Path = option(
        PATH,
        "--state-dir",
        factory=places.state_directory,
        default_text="`/var/lib/zosnet` as root, else `~/.local/share/zosnet`",
        help="Where the node keeps what must outlive it.",
    )
    socket: Path = option(
        PATH,
        "--socket",
        factory=places.socket_path,
        default_text="`/run/zosnet/zosnet.sock` as root, else `$XDG_RUNTIME_DIR/zosnet.sock`",
        help="The unix socket of the API, through which the other commands reach the node.",
    )
    lanes: int = option(
        number(0, 64),
        "--lanes",
        default=0,
        default_text=f"0: one per processor, at most {_MOST_AUTOMATIC_LANES}",
        help="Threads that move packets.",
    )
    log_level: str = option(
        choice("debug", "info", "warning", "error"), "--log-level", default="info", help="How much to log."
    )
    config: Path | None = option(
        PATH,
        "--config",
        "-c",
        "--config-file",
        default_text="`/etc/zosnet/zosnet.toml` as root, else `~/.config/zosnet/zosnet.toml`",
        help="The settings file. The usual one may be missing, one that is named may not.",
        in_file=False,
    )

    @property
    def key_path(self) -> Path:
        """Where the key is, named or not."""
        return self.key_file or self.state_dir / KEY_FILE_NAME

    @property
    def pins_path(self) -> Path:
        """Where it is written who is held to our session suite."""
        return self.state_dir / PINS_FILE_NAME

    @property
    def lane_count(self) -> int:
        """How many lanes to run, once "automatic" is resolved for this machine."""
        return self.lanes or min(_MOST_AUTOMATIC_LANES, len(os.sched_getaffinity(0)))


OPTIONS: tuple[Option, ...] = options_of(Settings)
_BY_NAME = {each.name: each for each in OPTIONS}
_CONFIG = _BY_NAME["config"]


def load(
    command_line: Mapping[str, object] | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of a node.

    `command_line` holds what was typed, by option name; None, False and an empty list mean that it wasn't.
    Raises UsageError for a setting that cannot be, HostError for a file that cannot be read: one line that
    names the place, what was expected, and the remedy.
    """
    typed = {name: value for name, value in (command_line or {}).items() if _was_typed(value)}
    variables = {each.name: value for each in OPTIONS if (value := environment.get(each.variable))}
    values: dict[str, Any] = {
        "state_dir": places.state_directory(environment),
        "socket": places.socket_path(environment),
    }
    file = _file_of(typed, variables, environment)
    if file is not None:
        values |= _read_file(file)
    values |= _read(variables, lambda each: f"the environment variable {each.variable}")
    values |= _read(typed, lambda each: f"the option {each.flags[0]}")
    return Settings(**values | {"config": file})


def _file_of(
    typed: Mapping[str, object], variables: Mapping[str, str], environment: Mapping[str, str]
) -> Path | None:
    """The settings file to read. Only the usual one may be missing."""
    if named := typed.get(_CONFIG.name, variables.get(_CONFIG.name)):
        where = (
            "the option --config" if _CONFIG.name in typed else f"the environment variable {_CONFIG.variable}"
        )
        file: Path = _value(_CONFIG, named, True, where)
        return file
    usual = places.settings_file(environment)
    return usual if usual.exists() else None


def _was_typed(value: object) -> bool:
    """Whether a value of the command line says anything; 0 and the empty text do."""
    return value is not None and value is not False and value not in ((), [])


def _read(raw: Mapping[str, object], where: Callable[[Option], str]) -> dict[str, Any]:
    """The values of a source that gives text."""
    return {name: _value(_BY_NAME[name], value, True, where(_BY_NAME[name])) for name, value in raw.items()}


def _value(each: Option, raw: object, is_text: bool, where: str) -> Any:
    try:
        return each.kind.read(raw, is_text)
    except UsageError as error:
        raise UsageError(f"{where}: {error}", remedy=error.remedy) from None
    except ValueError:
        raise UsageError(
            f"{where}: {raw!r} is not {each.kind.expects}", remedy=f"give {each.kind.expects}"
        ) from None


def _read_file(file: Path) -> dict[str, Any]:
    text = read_text(file, "the settings file")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{file}: {error}", remedy="write it as TOML: key = value, texts in quotes"
        ) from None
    values = {}
    for key, raw in table.items():
        where = f"{file}, {_line_of(key, text)}{key}"
        if key in _IGNORED or (key in _MISSING and raw is False):
            continue
        if key in _MISSING:
            raise UsageError(f"{where}: {_MISSING[key]}", remedy="take it out of the file")
        if key not in _BY_NAME or not _BY_NAME[key].in_file:
            raise UsageError(f"{where}: there is no such setting", remedy=_nearest(key))
        values[key] = _value(_BY_NAME[key], raw, False, where)
    return values


def read_text(file: Path, what: str) -> str:
    """The text of a file that the operator wrote.

    Raises HostError where it cannot be read, UsageError where it is no text, or beyond all reason.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise HostError(
            f"{what} {file} cannot be read: {error.strerror}",
            remedy="name another file, or make this one readable",
        ) from error
    try:
        if len(data) <= _MAX_FILE_BYTES:
            return data.decode()
    except UnicodeDecodeError:
        pass
    raise UsageError(f"{what} {file} is not a text of at most 1 MiB", remedy="write it as TOML, in UTF-8")


def _line_of(key: str, text: str) -> str:
    """ "line 3, ", or nothing where the key is written in a way that a glance doesn't find."""
    found = re.search(rf"^[ \t]*\[*[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]", text, re.MULTILINE)
    return f"line {text.count(chr(10), 0, found.start()) + 1}, " if found else ""


def _nearest(key: str) -> str:
    names = [each.name for each in OPTIONS if each.in_file]
    near = difflib.get_close_matches(key.replace("-", "_").lower(), names, n=1)
    return f"did you mean {near[0]}?" if near else "`zosnet up --help` lists the settings"
