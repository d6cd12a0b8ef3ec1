"""The reference page of the settings, written from their declaration. A test keeps the page equal."""

import sys

from zosnet.store.option import Option
from zosnet.store.settings import OPTIONS

_HEAD = """# Settings

<!-- Written from src/zosnet/store/settings.py by `python -m zosnet.store.reference >
docs/guide/settings.md`. Edit that instead. -->

A setting can be given in four places. Each wins over the one before it, and a list replaces a list:

1. the default;
2. the settings file (TOML), where the key is the name in the first column; a file of Mycelium's works too;
3. the environment, `ZOSNET_…`; lists are parted by blanks or commas;
4. the command line of `zosnet up`.

`zosnet reload`, or SIGHUP, reads them again. An unknown key or an impossible value is refused, with the
file, the line and what was expected.

| setting | flags | environment | takes | default | meaning |
|---|---|---|---|---|---|
"""


def settings_reference() -> str:
    """The whole page, as markdown."""
    return _HEAD + "".join(_row(each) for each in OPTIONS)


def _row(each: Option) -> str:
    flags = " ".join(f"`{flag}`" for flag in each.flags)
    name = f"`{each.name}`" if each.in_file else f"`{each.name}` (not in the file)"
    takes = f"{each.kind.expects}, {each.unit}" if each.unit else each.kind.expects
    cells = (name, flags, f"`{each.variable}`", takes, each.default, each.help)
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    sys.stdout.write(settings_reference())
