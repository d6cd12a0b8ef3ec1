"""The one error of the lab's own, beside `HostError` for a machine that can't hold a lab."""

from __future__ import annotations

from zosnet.model.errors import ZosnetError


class LabError(ZosnetError):
    """Something in the lab did not happen, or not in time: a test's or a demo's finding, in words."""
