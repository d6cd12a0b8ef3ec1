"""Overlay networks side by side on this machine.

    python -m bench.overlay                       the whole comparison, more than an hour
    python -m bench.overlay run --topologies A --peers mycelium-tcp,zosnet-tcp --repetitions 1
    python -m bench.overlay list                  which overlays can run here
    python -m bench.overlay show FILE…            tables and verdicts out of result files
    python -m bench.overlay profile zosnet-tcp    where the CPU time goes (needs perf)

The real Mycelium is taken from MYCELIUM_BIN, else from PATH. Repetitions are interleaved: every overlay once,
then every overlay again. Exit codes: 0 every bar met, 1 a bar missed, 3 this machine cannot run it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from bench import measure, peers, rivals
from bench.netlab import Lab, family
from bench.report import Run, tables, verdict_lines, verdicts
from bench.scenarios import SCENARIOS, Options, Result, Scenario, Trial
from zosnet.lab.errors import LabError

PACKAGES = {
    "ip": "iproute2",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "nsenter": "util-linux",
    "nft": "nftables",
    "ethtool": "ethtool",
}
#: Every overlay that there is an adapter for.
EVERY = (*peers.ALL, *rivals.RIVALS)
DEFAULT_PEERS = (
    "veth,tunlimit-gso-aes,mycelium-tcp,mycelium-quic,wireguard-go,boringtun,gotatun,nebula,yggdrasil,easytier,"
    "zosnet-tcp,zosnet-quic,zosnet-udp,zosnet-udp-doors"
)


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def check_host(congestion: str = "") -> str:
    """What this machine lacks, as its remedy; empty when nothing."""
    if os.geteuid() != 0:
        return "network namespaces and TUN devices need root: run it with sudo"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun: modprobe tun"
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()
    if congestion and congestion not in allowed:
        return f"sysctl net.ipv4.tcp_allowed_congestion_control='{' '.join([*allowed, congestion])}'"
    lacking = sorted({package for tool, package in PACKAGES.items() if shutil.which(tool) is None})
    return f"apt-get install {' '.join(lacking)}" if lacking else ""


@contextlib.contextmanager
def turn(path: str) -> Iterator[None]:
    """Hold the lock file while something is measured, so that other users of the machine can take turns."""
    if not path:
        yield
        return
    with Path(path).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def chosen(names: str) -> list[type[peers.Peer]]:
    """The adapters of these names, in this order. Raises LabError for one that cannot run here."""
    known = {peer.name: peer for peer in EVERY}
    found = []
    for name in names.split(","):
        if name not in known:
            raise LabError(f"no such peer: {name} (there are {', '.join(known)})")
        found.append(known[name])
    return found


def available(kinds: Sequence[type[peers.Peer]]) -> list[type[peers.Peer]]:
    """Those that can run here; the others are told with the reason."""
    able = []
    for kind in kinds:
        if reason := kind().missing():
            say(f"left out: {kind.name}: {reason}")
        else:
            able.append(kind)
    return able


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return {"cores": os.cpu_count(), "cpu": model, "kernel": platform.release(), "congestion": congestion}


class Session:
    """One `run`: what was asked, what was measured so far, and the file that it goes to."""

    def __init__(self, options: Options, kinds: Sequence[type[peers.Peer]], out: Path, lock: str) -> None:
        self.options, self.kinds, self.out, self.lock = options, kinds, out, lock
        self.runs: list[Run] = []
        self._congestion = options.congestion or machine()["congestion"]
        self._head = {
            "schema": "zosnet.bench.overlay/1",
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine(),
            "congestion": self._congestion,
            "versions": {kind.name: kind().version() for kind in kinds},
        }

    def repetition(self, scenario: Scenario) -> None:
        """Every peer once."""
        able = [kind for kind in self.kinds if scenario.suits(kind())]
        if scenario.light:
            with turn(self.lock), ThreadPoolExecutor(max(1, len(able))) as pool:
                for kind, result in zip(
                    able, pool.map(lambda kind: scenario.run(kind(), self.options), able), strict=True
                ):
                    self._keep(scenario, kind, result)
            return
        for kind in able:
            with turn(self.lock):
                result = scenario.run(kind(), self.options)
            self._keep(scenario, kind, result)

    def _keep(self, scenario: Scenario, kind: type[peers.Peer], result: Result) -> None:
        run = Run(scenario.letter, kind.name, result, self._congestion)
        shown = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in run.result.items()
        }
        say(f"{run.topology} {run.peer}: {shown}")
        self.runs.append(run)
        rows = [{"topology": run.topology, "peer": run.peer, "result": run.result} for run in self.runs]
        self.out.write_text(json.dumps({**self._head, "runs": rows}, indent=1) + "\n")


def load(paths: Sequence[str]) -> list[Run]:
    """The runs of result files. Raises LabError for a file that is none."""
    runs = []
    for path in paths:
        try:
            data = json.loads(Path(path).read_text())
            congestion = data["congestion"]
            runs += [Run(row["topology"], row["peer"], row["result"], congestion) for row in data["runs"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabError(f"{path} is no result file: {error}") from error
    return runs


def show(runs: Sequence[Run]) -> int:
    """Print tables and verdicts; 1 when a bar is missed."""
    judged = verdicts(runs)
    print(tables(runs))
    print(verdict_lines(judged))
    return int(any(verdict.met is False for verdict in judged))


def profile(kind: type[peers.Peer], options: Options, lock: str) -> None:
    """Record the daemons under one TCP stream and print where their time goes."""
    if shutil.which("perf") is None:
        raise LabError("no perf: apt-get install linux-perf")
    with turn(lock), Lab("ab", [("a", "b")], congestion=options.congestion) as lab:
        trial = Trial(kind(), options)
        target = trial.bring_up(lab)
        data = lab.directory / "perf.data"
        pids = ",".join(map(str, family(lab.daemons)))
        recorder = subprocess.Popen(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-o", str(data), "-p", pids],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(0.5)
        got = measure.tcp(lab, lab["a"], lab["b"], target, options.seconds)
        recorder.send_signal(signal.SIGINT)
        recorder.wait(30)
        print(f"{kind.name}: {got.mbps:.0f} Mbit/s under perf, user {got.user_gb or 0:.2f} s/GB, "
              f"system {got.system_gb or 0:.2f} s/GB")  # fmt: skip
        for keys, rows in (("dso", 10), ("comm", 10), ("dso,symbol", 40)):
            words = [
                "perf",
                "report",
                "-i",
                str(data),
                "--stdio",
                "--no-children",
                "-s",
                keys,
                "--percent-limit",
                "0.5",
            ]
            text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
            lines = [
                line.rstrip()[:110] for line in text.splitlines() if line.strip() and not line.startswith("#")
            ]
            print("\n".join([f"-- by {keys}", *lines[:rows], ""]))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m bench.overlay", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    commands = top.add_subparsers(dest="command")
    run = commands.add_parser("run", help="measure, and judge the result")
    run.add_argument(
        "--topologies", default="A,B,S,C,D,L,I", help=f"of {','.join(SCENARIOS)} (default: %(default)s)"
    )
    run.add_argument("--peers", default=DEFAULT_PEERS, help="default: %(default)s")
    run.add_argument("--repetitions", type=int, default=3)
    run.add_argument(
        "--out", type=Path, default=Path("target/bench-overlay.json"), help="default: %(default)s"
    )
    listed = commands.add_parser("list", help="which overlays can run here")
    listed.set_defaults(peers=",".join(peer.name for peer in EVERY))
    shown = commands.add_parser("show", help="tables and verdicts out of result files")
    shown.add_argument("files", nargs="+")
    profiled = commands.add_parser("profile", help="where the CPU time of an overlay goes")
    profiled.add_argument("peer")
    for command in (run, profiled):
        command.add_argument(
            "--seconds", type=float, default=4.0, help="length of one TCP run (default: %(default)s)"
        )
        command.add_argument(
            "--congestion", default="", help="TCP congestion control, cubic or bbr (default: as it is)"
        )
        command.add_argument(
            "--lock", default=os.environ.get("BENCH_LOCK", ""), help="a file to flock while measuring"
        )
        command.add_argument(
            "--verbose", action="store_true", help="print the daemons' logs when a run fails"
        )
        command.add_argument("--logs", type=Path, help="a directory in which the logs of every run are kept")
    run.add_argument("--quick", action="store_true", help="bulk TCP and idle ping only")
    run.add_argument("--idle", type=float, default=30.0, help="seconds that an idle node is watched")
    run.add_argument("--outage", type=float, default=20.0, help="seconds that a failover is watched (C, D)")
    return top


def options_of(asked: argparse.Namespace) -> Options:
    return Options(
        seconds=asked.seconds, congestion=asked.congestion, verbose=asked.verbose,
        quick=getattr(asked, "quick", False), idle=getattr(asked, "idle", 30.0),
        outage=getattr(asked, "outage", 20.0), logs=asked.logs,
    )  # fmt: skip


def measure_all(asked: argparse.Namespace) -> int:
    kinds = available(chosen(asked.peers))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    session = Session(options_of(asked), kinds, asked.out, asked.lock)
    letters = asked.topologies.split(",")
    for letter in letters:
        if letter not in SCENARIOS:
            raise LabError(f"no such topology: {letter} (there are {', '.join(SCENARIOS)})")
    for repetition in range(asked.repetitions):
        for letter in letters:
            if letter == "I" and repetition:
                continue  # half a minute of nothing needs no repetition
            say(f"repetition {repetition + 1} of {asked.repetitions}, topology {letter}")
            session.repetition(SCENARIOS[letter])
    say(f"results: {asked.out}")
    return show(session.runs)


def stop_on(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    asked = parser().parse_args(
        words if words and not (words[0].startswith("--") and words[0] != "--help") else ["run", *words]
    )
    if asked.command == "show":
        return show(load(asked.files))
    if lacking := check_host(getattr(asked, "congestion", "")):
        print(f"error: this machine cannot run the benchmark\nremedy: {lacking}", file=sys.stderr)
        return 3
    signal.signal(signal.SIGTERM, stop_on)
    try:
        if asked.command == "list":
            for kind in chosen(asked.peers):
                reason = kind().missing()
                print(f"{kind.name:20} {kind.note:64} {f'missing: {reason}' if reason else kind().version()}")
            return 0
        if asked.command == "profile":
            kinds = available(chosen(asked.peer))
            if kinds:
                profile(kinds[0], options_of(asked), asked.lock)
            return 0 if kinds else 3
        return measure_all(asked)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    finally:
        peers.remove_compiled()


if __name__ == "__main__":
    sys.exit(main())
