"""What an option is: its names, what it takes, what it is for. The declarations are in `settings`.

A value comes from three places in two forms: TOML gives typed values, the environment and the command line
give text. A kind reads both, and says in words what it expects.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from zosnet.access import Rule, Source, parse_key, parse_rule, parse_source
from zosnet.model import Endpoint, ListenAddress, PublicKey, UsageError

#: The kernel's limit on an interface's name, without the terminator (IFNAMSIZ).
_MAX_INTERFACE_NAME = 15
_SEPARATORS = re.compile(r"[\s,]+")
# Of rules, in which there are blanks and commas.
_LINES = re.compile(r"[;\n]")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_KEY = "option"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `read(raw, is_text)` raises ValueError, or UsageError with a reason of its own."""

    expects: str
    """In words, for errors and the reference: "a port from 0 to 65535"."""
    metavar: str
    read: Callable[[Any, bool], Any]
    is_flag: bool = False
    """On the command line it takes no value."""
    is_list: bool = False
    """On the command line it may be repeated."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, as `zosnet.store.settings.Settings` declares it."""

    name: str
    """The field of Settings, and the key in the settings file."""
    flags: tuple[str, ...]
    """On the command line, the first of them the proper one; Mycelium's names and short forms among them."""
    kind: Kind
    default: str
    """As the reference shows it."""
    help: str
    unit: str = ""
    in_file: bool = True
    """Whether a settings file may say it."""

    @property
    def variable(self) -> str:
        """The environment variable: ZOSNET_ and the first flag."""
        return "ZOSNET_" + self.flags[0].removeprefix("--").replace("-", "_").upper()


def option(
    kind: Kind,
    *flags: str,
    help: str,
    default: Any = None,
    factory: Callable[[], Any] | None = None,
    default_text: str | None = None,
    unit: str = "",
    in_file: bool = True,
) -> Any:
    """Declare a field of Settings. The default is a value, or what `factory` finds."""
    declared = {
        "flags": flags,
        "kind": kind,
        "help": help,
        "unit": unit,
        "in_file": in_file,
        "default": default_text if default_text is not None else _shown(default),
    }
    if factory is not None:
        return field(default_factory=factory, metadata={_KEY: declared})
    return field(default=default, metadata={_KEY: declared})


def options_of(settings: type) -> tuple[Option, ...]:
    """The options that a settings class declares, in the order of its fields."""
    return tuple(Option(name=each.name, **each.metadata[_KEY]) for each in fields(settings))


def _shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _integer(raw: Any, is_text: bool) -> int:
    if is_text and isinstance(raw, str):
        return int(raw, 0)
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError
    return raw


def _text(raw: Any, _: bool) -> str:
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise ValueError
    return raw


def _items(raw: Any, is_text: bool, separators: re.Pattern[str] = _SEPARATORS) -> list[str]:
    """A list of texts: an array or a single string, in text forms also parted, by blanks or commas mostly."""
    given = [raw] if isinstance(raw, str) else raw
    if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
        raise ValueError
    if is_text:
        return [item for text in given for item in separators.split(text) if item.strip()]
    return list(given)


def number(lowest: int, highest: int, what: str = "a whole number") -> Kind:
    """A whole number; text may write it in hexadecimal with 0x."""

    def read(raw: Any, is_text: bool) -> int:
        value = _integer(raw, is_text)
        if not lowest <= value <= highest:
            raise ValueError
        return value

    return Kind(f"{what} from {lowest} to {highest}", "N", read)


def choice(*names: str) -> Kind:
    """One of a few words."""

    def read(raw: Any, is_text: bool) -> str:
        word = _text(raw, is_text).lower()
        if word not in names:
            raise ValueError
        return word

    return Kind("one of " + ", ".join(names), "WORD", read)


def _read_switch(raw: Any, is_text: bool) -> bool:
    if is_text and isinstance(raw, str) and raw.lower() in _TRUE | _FALSE:
        return raw.lower() in _TRUE
    if not isinstance(raw, bool):
        raise ValueError
    return raw


def _read_path(raw: Any, is_text: bool) -> Path:
    try:
        return Path(_text(str(raw) if isinstance(raw, Path) else raw, is_text)).expanduser()
    except RuntimeError:  # "~nobody"
        raise ValueError from None


def _read_endpoints(raw: Any, is_text: bool) -> tuple[Endpoint, ...]:
    return tuple(dict.fromkeys(Endpoint.parse(item) for item in _items(raw, is_text)))


def _read_listen(raw: Any, is_text: bool) -> ListenAddress:
    return ListenAddress.parse(_text(raw, is_text))


def _read_interface(raw: Any, is_text: bool) -> str:
    name = _text(raw, is_text)
    if len(name.encode()) > _MAX_INTERFACE_NAME or name in (".", "..") or re.search(r"[\s/:]", name):
        raise UsageError(
            f"{name!r} is not an interface name",
            remedy=f"a name has at most {_MAX_INTERFACE_NAME} bytes, no blank, slash or colon",
        )
    return name


def _read_interfaces(raw: Any, is_text: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_read_interface(item, is_text) for item in _items(raw, is_text)))


def _read_rules(raw: Any, is_text: bool) -> tuple[Rule, ...]:
    return tuple(dict.fromkeys(parse_rule(item) for item in _items(raw, is_text, _LINES)))


def _read_sources(raw: Any, is_text: bool) -> tuple[Source, ...]:
    return tuple(dict.fromkeys(parse_source(item) for item in _items(raw, is_text)))


def _read_keys(raw: Any, is_text: bool) -> tuple[PublicKey, ...]:
    return tuple(dict.fromkeys(parse_key(item) for item in _items(raw, is_text)))


PORT = number(0, 65535, "a port")
SWITCH = Kind("true or false", "", _read_switch, is_flag=True)
PATH = Kind("a path", "PATH", _read_path)
ENDPOINTS = Kind("a list of endpoints", "ENDPOINT", _read_endpoints, is_list=True)
LISTEN = Kind("an address and port", "ADDRESS:PORT", _read_listen)
INTERFACE = Kind("an interface name", "NAME", _read_interface)
INTERFACES = Kind("a list of interface names", "NAME", _read_interfaces, is_list=True)
RULES = Kind("a list of rules", "RULE", _read_rules, is_list=True)
SOURCES = Kind("a list of any, keys and prefixes", "SOURCE", _read_sources, is_list=True)
KEYS = Kind("a list of public keys", "KEY", _read_keys, is_list=True)
