"""Keeps one engine: starts it, tells its process id, and lets it outlive nobody it should not.

    guard.py --watch PID --log FILE [--user NAME] [--grace SECONDS] [--remove FOLDER] -- COMMAND ...

The engine's process id is the one line of standard output. When the watched process is gone, however it went, or when
SIGTERM comes, the engine and all its descendants are killed (with SIGTERM first where there is a grace) and the folder
is removed. When the engine ends by itself, so does the guard, and the folder stays. Where the guard itself is killed,
Linux kills the engine. Nothing but the standard library is imported, so that it is there in a moment.
"""

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LINUX = sys.platform == "linux"
SESSION = "textkeep-engines-"
"""How the name of a session's folder begins: it goes with the session's engines where nobody else is left to do it."""

TICK = 0.25
"""Seconds between two looks where the system cannot wake the guard."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Runs until the engine or the watched process has ended."""
    asked = _asked()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(name, lambda *_: None)
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    engine = _started(asked, prctl)
    sys.stdout.write(f"{engine.pid}\n")
    sys.stdout.flush()
    os.close(sys.stdout.fileno())
    ended_by_itself = _wait(engine, asked.watch, woken)
    if not ended_by_itself and asked.grace:
        engine.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(asked.grace)
    if ended_by_itself:
        _tell_how(engine, asked.log)
    _kill_all(engine)
    if not ended_by_itself and asked.remove is not None:
        shutil.rmtree(asked.remove, ignore_errors=True)
        if asked.remove.parent.name.startswith(SESSION) and not _there(asked.watch):
            shutil.rmtree(asked.remove.parent, ignore_errors=True)
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--watch", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--user")
    parser.add_argument("--grace", type=float, default=0)
    parser.add_argument("--remove", type=Path)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def _prctl() -> Callable[[int, int], int]:
    if not LINUX:
        return lambda _option, _value: 0
    library = ctypes.CDLL(None)
    return lambda option, value: int(library.prctl(option, value, 0, 0, 0))


def _started(asked: argparse.Namespace, prctl: Callable[[int, int], int]) -> "subprocess.Popen[bytes]":
    with asked.log.open("ab") as log:
        return subprocess.Popen(
            asked.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=asked.user,
            extra_groups=[] if asked.user else None,
            start_new_session=True,
            # after the change of user, which would clear it
            preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) and None,
        )


def _wait(engine: "subprocess.Popen[bytes]", watched: int, woken: int) -> bool:
    """Until the engine has ended (True), or the watched process has, or a signal asked for the end (False)."""
    with _gone(watched) as handle:
        while engine.poll() is None:
            ready = select.select([each for each in (woken, handle) if each is not None], [], [], _pause(handle))[0]
            asked_to_end = woken in ready and set(os.read(woken, 100)) - {signal.SIGCHLD}
            if asked_to_end or handle in ready or not _there(watched):
                return False
    return True


def _tell_how(engine: "subprocess.Popen[bytes]", log: Path) -> None:
    """The last line of its log, for an engine that says nothing about its end."""
    how = engine.returncode
    with contextlib.suppress(OSError), log.open("a") as end:
        end.write(f"ended by signal {-how}\n" if how < 0 else f"ended with exit status {how}\n")


@contextlib.contextmanager
def _gone(pid: int) -> Iterator[int | None]:
    """A handle that becomes readable when a process ends; None where the system has no such thing."""
    try:
        handle = os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:
        handle = None
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _pause(handle: int | None) -> float | None:
    return TICK if handle is None else None


def _there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _kill_all(engine: "subprocess.Popen[bytes]") -> None:
    """The engine and whatever it started; orphans come to the guard, so one look after another finds them all."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()
    while pids := _children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        time.sleep(0)


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
