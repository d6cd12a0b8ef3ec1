"""Command-line options from the settings' declarations, where all that is said of them is said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from zosnet.store.option import Option
from zosnet.store.settings import OPTIONS

__all__ = ["given", "settings_options"]

Command = Callable[..., Any]


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Options for the settings of these names, all where none is given."""
    chosen = [option for option in OPTIONS if not names or option.name in names]

    def decorate(command: Command) -> Command:
        for option in reversed(chosen):
            command = _click_option(option)(command)
        return command

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was typed, by the settings' names; `load` reads and checks it."""
    return {
        name.removeprefix("setting_"): value for name, value in values.items() if name.startswith("setting_")
    }


def _click_option(option: Option) -> Callable[[Command], Command]:
    names = (*option.flags, f"setting_{option.name}")
    if option.kind.is_flag:
        return click.option(*names, is_flag=True, default=None, help=_help(option))
    return click.option(*names, multiple=option.kind.is_list, metavar=option.kind.metavar, help=_help(option))


def _help(option: Option) -> str:
    text = option.help.replace("`", "")
    if option.kind.is_list:
        text += " May be repeated."
    default = f"default: {option.default.replace('`', '')}; " if option.default else ""
    return f"{text}  [{default}env: {option.variable}]"
