"""What an operator should know of a node and its machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Findings"]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about this node that an operator should know."""

    code: str
    severity: Severity
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that `doctor` found; an empty list means that all is well."""

    findings: list[Finding]
    schema: Literal["zosnet.doctor/1"] = "zosnet.doctor/1"
