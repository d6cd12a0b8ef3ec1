"""The `zosnet` command: finds the command, runs it, and says in one line what went wrong.

Commands are imported when they are used, so that a simple one starts in a fraction of a second.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
from typing import Any

import click

from zosnet import __version__
from zosnet.model.errors import HostError, PeerError, UsageError, ZosnetError

__all__ = ["cli", "main"]

# EX_SOFTWARE of sysexits.h: not one of our five answers, so that a bug is never taken for one.
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

#: Where each command lives, and what the overview says of it. The order is that of the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("zosnet.cli.up:up", "Run the node, in the foreground."),
    "down": ("zosnet.cli.node:down", "Stop the node."),
    "status": ("zosnet.cli.node:status", "The node at a glance."),
    "peers": ("zosnet.cli.peers:peers", "Whom this node is linked to: list, add, remove."),
    "sessions": ("zosnet.cli.sessions:sessions", "How what goes to other nodes is encrypted."),
    "routes": ("zosnet.cli.routes:routes", "The ways to other nodes: selected, fallback, queried."),
    "doors": ("zosnet.cli.doors:doors", "What may come in, and what was refused."),
    "ping": ("zosnet.cli.probe:ping", "Ask a node for an echo."),
    "trace": ("zosnet.cli.probe:trace", "The nodes on the way to another."),
    "message": ("zosnet.cli.message:message", "Send and receive messages."),
    "key": ("zosnet.cli.key:key", "The node's identity, and pinned keys of others."),
    "name": ("zosnet.cli.name:name", "Names: reserve, renew, transfer, look up."),
    "ledger": ("zosnet.cli.ledger_operators:ledger", "The ledger of names: run one, check what it says."),
    "doctor": ("zosnet.cli.doctor:doctor", "What is wrong, and what to do about it."),
    "metrics": ("zosnet.cli.node:metrics", "The node's counters, as Prometheus reads them."),
    "reload": ("zosnet.cli.node:reload", "Read the settings again."),
    "stats": ("zosnet.cli.node:stats", "Traffic by peer (Mycelium's name)."),
    "inspect": ("zosnet.cli.key:inspect", "A public key and its address (Mycelium's name)."),
    "generate-keys": ("zosnet.cli.key:generate_keys", "Make a new key (Mycelium's name)."),
}

EPILOG = """
\b
First steps:
  sudo zosnet up --peers tcp://peer.example:9651    join the network of that peer
  zosnet status                                     see how it goes
  zosnet ping 400::1                                ask another node for an echo
  zosnet doctor                                     when something seems wrong

Every command has --help, and --json where it shows something. A node is reached through its socket: name
another with --socket or ZOSNET_SOCKET, and several nodes run on one machine.

Exit codes: 0 done, 1 the answer is no, 2 your command, 3 this machine, 4 the other side.
"""


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but an unknown name is answered with the nearest known one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `zosnet {near[0]}`?" if near else "`zosnet --help` lists the commands"
            raise UsageError(f"there is no command {args[0]!r}", remedy=hint)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zosnet", message="%(prog)s %(version)s")
@click.option("--socket", metavar="PATH", help="The socket of the node to talk to.  [env: ZOSNET_SOCKET]")
@click.pass_context
def cli(ctx: click.Context, socket: str | None) -> None:
    """zosnet: a secure network between machines, and the containers on them, that nobody owns.

    `zosnet up` runs a node; all other commands talk to the one that runs.
    """
    ctx.obj = socket


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing escapes from here."""
    try:
        outcome: Any = cli.main(arguments, prog_name="zosnet", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except ZosnetError as error:
        return _fail(error.message, error.remedy, _exit_code(error))
    except click.ClickException as error:
        return _fail(*_usage_text(error), 2)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_BROKEN_PIPE
    except Exception as error:
        return _bug(error)


def _exit_code(error: ZosnetError) -> int:
    match error:
        case UsageError():
            return 2
        case HostError():
            return 3
        case PeerError():
            return 4
        case _:
            return 1


def _fail(message: str, remedy: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    if remedy:
        print(f"remedy: {remedy}", file=sys.stderr)
    return code


def _usage_text(error: click.ClickException) -> tuple[str, str]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context else "zosnet"
    if isinstance(error, click.NoSuchOption):
        near = sorted(error.possibilities or ())
        hint = f"did you mean {near[0]}? " if near else ""
        return f"there is no option {error.option_name}", f"{hint}`{where} --help` lists the options"
    text = " ".join(error.format_message().split()).rstrip(".")
    return text[:1].lower() + text[1:], f"`{where} --help` says how to use it"


def _bug(error: Exception) -> int:
    logging.getLogger("zosnet").debug("bug", exc_info=error)
    if os.environ.get("ZOSNET_TRACEBACK") == "1":
        raise error
    text = " ".join(str(error).split())
    hint = "run it again with ZOSNET_TRACEBACK=1 and report what it shows"
    return _fail(f"this is a bug: {type(error).__name__}: {text}", hint, EXIT_BUG)


def run() -> None:
    """The entry point of `python -m zosnet`."""
    sys.exit(main())
