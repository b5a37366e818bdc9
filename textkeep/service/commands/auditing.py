"""`textkeep ledger witness` and `textkeep verify`: an auditor's commands. They need no archive on this machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout

from textkeep.errors import Conflict, Malformed, NotFound, Outage, Unsound
from textkeep.ledger import verifying
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.note import NoteRefused, Verifier
from textkeep.ledger.published import Folder, Source
from textkeep.ledger.witness import SILENCE, Seen, Watch
from textkeep.ledger.witness_memory import MemoryFile, MemoryRefused
from textkeep.service.commands.output import FAILED, JsonOption, note, out, plain, print_json, reported
from textkeep.service.folder import write_private
from textkeep.service.log_source import Web
from textkeep.service.settings import Settings

UNAVAILABLE = 3

UrlOption = Annotated[str | None, typer.Option("--url", metavar="URL", help="The archive, like https://archive:8400.")]
DirOption = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="Or the folder of an export.")]
StateOption = Annotated[Path, typer.Option("--state", metavar="FILE", help="What this witness remembers.")]
KeyOption = Annotated[Path, typer.Option("--key", metavar="FILE", help="This witness's own private key.")]


@reported
def witness(
    state: StateOption,
    key: KeyOption,
    url: UrlOption = None,
    folder: DirOption = None,
    log_key: Annotated[
        str | None, typer.Option("--log-key", metavar="KEY", help="The log's verifier key; needed the first time.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="With --new-key: its name.")] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make the key first; one that is there stays.")] = False,
    silence: Annotated[
        float, typer.Option("--silence", metavar="HOURS", min=0.1, help="How long the log may stay as it is.")
    ] = SILENCE.total_seconds() / 3600,
    line: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the cosignature there; hand nothing in.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a log as its witness: check that it only grew since the last look, and cosign its checkpoint.

    Ends with 1 where there is anything to look at, with 3 where the log cannot be read.
    """
    if new_key:
        _make_key(key, name)
    cosigner = _cosigner(key)
    if url is None and folder is None and new_key:
        _show_key(cosigner, as_json=as_json)
        return
    if (url is None) == (folder is None):
        raise Malformed("say where the log is, once", field="--url", remedy="Name either --url or --dir.")
    token = Settings.load(None).token
    web = None if url is None else Web(url, token.get_secret_value() if token else None)
    source: Source = web or Folder(folder or Path())
    try:
        seen = _looked(Watch(source, MemoryFile(state), cosigner, timedelta(hours=silence)), state, log_key)
        amiss = _hand_over(seen, line, web)
    finally:
        if web is not None:
            web.close()
    _show(seen, amiss, cosigner, as_json=as_json)
    if seen.findings or amiss:
        raise typer.Exit(UNAVAILABLE if {each.kind for each in seen.findings} == {"unreadable"} else FAILED)


@reported
def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="The report, SHELF.json.")],
    key: Annotated[list[str], typer.Option("--key", metavar="KEY", help="A key of the log, or a file with one.")],
    proof: Annotated[
        Path | None, typer.Option("--proof", metavar="FILE", help="Default: SHELF.tlog-proof beside the report.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="OLD", help="A checkpoint of another time.")
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", metavar="KEY", help="A witness that must have cosigned.")
    ] = None,
    chain: Annotated[Path | None, typer.Option("--chain", metavar="DIR", help="The folder of all reports.")] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="DIR", help="What `textkeep ledger export` wrote.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a purge report, offline, in numbered steps. Ends with 0 verified, 1 not, 2 usage, 3 a file is missing."""
    asked = verifying.Asked(report, key, proof, checkpoint, witness or (), chain, ledger)
    code = verifying.run(asked, as_json=as_json, write=sys.stdout.write, complain=sys.stderr.write)
    if code:
        raise typer.Exit(code)


def _looked(watch: Watch, state: Path, log_key: str | None) -> Seen:
    try:
        known = None if log_key is None else Verifier.parse(log_key)
    except NoteRefused as refused:
        raise Malformed(str(refused), field="--log-key") from None
    with _alone(state):
        try:
            return watch.look(datetime.now(UTC), known)
        except NoteRefused as refused:
            raise Malformed(str(refused), field="--log-key", remedy="`textkeep ledger key` shows it.") from None
        except MemoryRefused as refused:
            raise Unsound(
                str(refused),
                remedy="Put the file back from your own copy. A witness that forgets would follow a fork.",
            ) from None


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    state.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{state}.lock", timeout=0):
            yield
    except Timeout:
        raise Conflict("another witness is at work with this file", remedy="Wait for it to end.") from None


def _make_key(path: Path, name: str | None) -> None:
    if path.exists():
        raise Conflict("there is a key already; nothing was changed", remedy="Leave --new-key out.")
    if name is None:
        raise Malformed("a new key needs a name", field="--name", remedy="For instance --name auditor.example/w1.")
    try:
        secret = Cosigner.generate(name).secret()
    except NoteRefused as refused:
        raise Malformed(str(refused), field="--name") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, f"{secret}\n".encode())
    except OSError:
        raise Outage("the key cannot be written there") from None


def _cosigner(path: Path) -> Cosigner:
    try:
        return Cosigner.parse(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        raise NotFound("there is no key there", remedy="Make one with --new-key --name NAME.") from None
    except (OSError, UnicodeDecodeError):
        raise Outage("the key cannot be read") from None
    except NoteRefused as refused:
        raise Malformed(str(refused), field="--key") from None


def _hand_over(seen: Seen, path: Path | None, web: Web | None) -> str | None:
    """Where the cosignature goes; gives why it did not get there, or None."""
    if seen.cosignature is None:
        return None
    if path is not None:
        try:
            path.write_text(seen.cosignature.line, encoding="utf-8")
        except OSError:
            return "the cosignature cannot be written there"
        return None
    return None if web is None else web.hand_in(seen.size, seen.cosignature.line.rstrip("\n"))


def _show(seen: Seen, amiss: str | None, cosigner: Cosigner, *, as_json: bool) -> None:
    line = seen.cosignature.line.rstrip("\n") if seen.cosignature else None
    if as_json:
        told: dict[str, Any] = {"before": seen.before, "size": seen.size, "cosignature": line}
        told["findings"] = [{"kind": each.kind, "what": each.what} for each in seen.findings]
        told |= {"handed_in": amiss is None and line is not None, "not_handed_in": amiss, "key": str(cosigner.witness)}
        print_json(told)
        return
    if line is not None:
        note(f"The log grew from {seen.before} to {seen.size} entries, as it must. Cosigned:")
        out().print(plain(line), markup=False)
    for each in seen.findings:
        note(f"{each.kind}: {each.what}")
    if amiss:
        note(f"not handed in: {amiss}")
    if line is None:
        note("Nothing was cosigned. What was remembered stays; keep it, it is evidence.")


def _show_key(cosigner: Cosigner, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": str(cosigner.witness)})
    else:
        out().print(str(cosigner.witness), markup=False)
        note("Give this key to the archive (`textkeep ledger witnesses --add KEY`), and to whoever verifies reports.")
