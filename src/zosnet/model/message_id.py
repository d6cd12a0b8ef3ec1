"""Message ids."""

from dataclasses import dataclass
from typing import Self

from zosnet.model.errors import UsageError

MESSAGE_ID_BYTES = 8


@dataclass(frozen=True, slots=True, order=True)
class MessageId:
    """What names a message between its two ends: 8 random bytes, drawn by the sender. A reply reuses them."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != MESSAGE_ID_BYTES:
            raise UsageError(f"a message id has {MESSAGE_ID_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 16 hexadecimal digits. Raises UsageError for anything else."""
        if len(text) == 2 * MESSAGE_ID_BYTES and text.isascii() and text.isalnum():
            try:
                return cls(bytes.fromhex(text))
            except ValueError:
                pass
        raise UsageError(f"{text!r} is not a message id", remedy="a message id is 16 hexadecimal digits")

    @property
    def hex(self) -> str:
        """16 lower-case hexadecimal digits."""
        return self.raw.hex()

    def __str__(self) -> str:
        return self.hex
