"""Names that the ledger gives out, sub-names under them, and domains that people bring along.

The one validator of the whole package: the ledger, the command line, DNS and the gateways all ask here. What
it accepts is stored as it is written: there is no second spelling of a name, so nothing is ever folded,
trimmed or decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from zosnet.model.errors import UsageError

LONGEST_LABEL = 63
LONGEST_NAME = 253
"""Both are DNS's own (RFC 1035, section 2.3.4)."""

SHORTEST_NAME = 3
SUB_LEVELS = 3

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_REMEDY = "a name has 3 to 63 lower-case letters, digits and inner hyphens, as in `my-shop`"


def label_trouble(text: str, *, shortest: int = 1) -> str | None:
    """What keeps `text` from being one label of a name; None where nothing does.

    Two hyphens in places 3 and 4 are kept for encodings such as `xn--` (RFC 5891, section 4.2.3.1).
    """
    if not text:
        return "a label is empty"
    if len(text) > LONGEST_LABEL:
        return f"a label is longer than {LONGEST_LABEL} characters"
    if not _LABEL.fullmatch(text):
        return "only lower-case letters a to z, digits and inner hyphens are allowed"
    if text[2:4] == "--":
        return "hyphens in places 3 and 4 are kept for encoded labels"
    if len(text) < shortest:
        return f"it is shorter than {shortest} characters"
    return None


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A name such as `shop`, or a sub-name such as `api.eu.shop`; the last label is what is leased."""

    text: str

    def __post_init__(self) -> None:
        if trouble := name_trouble(self.text):
            raise UsageError(f"{self.text!r} is not a name: {trouble}", remedy=_REMEDY)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name. Raises UsageError with the reason."""
        return cls(text)

    @property
    def top(self) -> str:
        """The label that is leased: the last one."""
        return self.text.rpartition(".")[2]

    @property
    def is_sub(self) -> bool:
        """Whether this is a sub-name."""
        return "." in self.text

    def is_under(self, other: Name) -> bool:
        """Whether this is `other`, or a sub-name of it."""
        return self.text == other.text or self.text.endswith(f".{other.text}")

    def ancestry(self) -> list[Name]:
        """This name and those above it, the leased one last."""
        labels = self.text.split(".")
        return [Name(".".join(labels[start:])) for start in range(len(labels))]

    def __str__(self) -> str:
        return self.text


def name_trouble(text: str) -> str | None:
    """What keeps `text` from being a name or sub-name; None where nothing does. Sub-labels may be short."""
    if len(text) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    *subs, top = text.split(".")
    if len(subs) > SUB_LEVELS:
        return f"it has more than {SUB_LEVELS} levels of sub-names"
    for label in subs:
        if trouble := label_trouble(label):
            return trouble
    return label_trouble(top, shortest=SHORTEST_NAME)


@dataclass(frozen=True, slots=True, order=True)
class Domain:
    """A DNS domain that its owner brings along, in lower case and without a dot at its end."""

    text: str

    def __post_init__(self) -> None:
        if trouble := domain_trouble(self.text):
            raise UsageError(
                f"{self.text!r} is not a domain: {trouble}",
                remedy="write it as in `shop.example`, an international one in its xn-- form",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a domain. Raises UsageError with the reason."""
        return cls(text)

    def __str__(self) -> str:
        return self.text


def domain_trouble(text: str) -> str | None:
    """What keeps `text` from being a domain of at least two labels; None where nothing does."""
    if len(text) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    labels = text.split(".")
    if len(labels) < 2:
        return "it has one label only"
    for label in labels:
        # An international domain is an `xn--` label, so the rule about hyphens isn't for these.
        if len(label) > LONGEST_LABEL or not _LABEL.fullmatch(label):
            return "a label must have 1 to 63 lower-case letters, digits and inner hyphens"
    if labels[-1].isdigit():
        return "the last label may not be a number"
    return None
