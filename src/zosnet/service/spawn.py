"""How a part of a node runs what takes time: as a task of the node, in its group, ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Spawn"]

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
"""Called with the work and a name for it."""
