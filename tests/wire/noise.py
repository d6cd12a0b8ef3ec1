"""Vector files, and Noise for tests that compute vectors again."""

from __future__ import annotations

from pathlib import Path

from bench.noise import Symmetric, agree, public

__all__ = ["ROOT", "Symmetric", "agree", "counting", "public", "vectors"]

ROOT = Path(__file__).parents[2]


def vectors(name: str) -> dict[str, bytes]:
    """The vectors of a file beside the Rust tests: a name and its bytes in hexadecimal on each line."""
    lines = (ROOT / "rust/core/tests/vectors" / name).read_text().splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {name: bytes.fromhex(value) for name, value in pairs}


def counting(first: int, length: int = 32) -> bytes:
    return bytes((first + at) % 256 for at in range(length))
