"""`textkeep ledger witness`: an auditor's command, over a folder and over HTTP."""

import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.ledger.sample_log import SIGNER, SampleLog, sample
from textkeep.ledger.cosignature import Cosigner, Witness
from textkeep.ledger.note import Signature, parse
from textkeep.service.cli import app


def run(folder: Path, *arguments: str | Path) -> Result:
    files = ["--state", folder / "state", "--key", folder / "key"]
    return CliRunner().invoke(app, ["ledger", "witness", *map(str, files), *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log in `ledger/`, and a witness with a key."""
    young().publish(tmp_path / "ledger")
    assert run(tmp_path, "--new-key", "--name", "auditor.example/w").exit_code == 0
    return tmp_path


def young(entries: int = 20) -> SampleLog:
    """A log that owes no day yet, whatever the clock says."""
    log = SampleLog()
    stamp = sample(1)
    log.entries = [stamp.entries[1].replace(b'"0"', b'"%d"' % number) for number in range(entries)]
    return log


KNOWN = ("--log-key", str(SIGNER.verifier))


def test_a_new_key_is_shown_as_a_verifier_key_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    told = run(tmp_path, "--new-key", "--name", "auditor.example/w", "--json")
    shown = Witness.parse(json.loads(told.stdout)["key"])
    path = tmp_path / "key"
    assert Cosigner.parse(path.read_text()).witness == shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().rpartition("+")[2].strip() not in told.output
    again = run(tmp_path, "--new-key", "--name", "auditor.example/w")
    assert again.exit_code == 1
    assert Cosigner.parse(path.read_text()).witness == shown


def test_a_folder_is_looked_at_and_its_checkpoint_cosigned(folder: Path) -> None:
    told = run(folder, "--dir", folder / "ledger", *KNOWN, "--out", folder / "line")
    assert told.exit_code == 0, told.output
    line = (folder / "line").read_text()
    witness = Cosigner.parse((folder / "key").read_text()).witness
    assert witness.time_of(parse(young().checkpoint()).text, Signature.parse(line.rstrip("\n")).raw)
    assert line.strip() in told.stdout


def test_after_the_first_look_the_logs_key_is_known(folder: Path) -> None:
    assert run(folder, "--dir", folder / "ledger").exit_code == 2
    assert run(folder, "--dir", folder / "ledger", *KNOWN).exit_code == 0
    assert run(folder, "--dir", folder / "ledger").exit_code == 0


def test_a_fork_ends_with_1_and_is_told(folder: Path) -> None:
    assert run(folder, "--dir", folder / "ledger", *KNOWN).exit_code == 0
    forked = young()
    forked.entries[3] = forked.entries[4]
    forked.publish(folder / "ledger")
    told = run(folder, "--dir", folder / "ledger", "--json")
    assert told.exit_code == 1
    document = json.loads(told.stdout)
    assert document["findings"][0]["kind"] == "forked"
    assert document["cosignature"] is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--url", "http://127.0.0.1:9", "--dir", "x"), 2),
        (("--dir", "nowhere", *KNOWN), 3),
        (("--url", "http://127.0.0.1:9", *KNOWN), 3),
        (("--dir", "nowhere", "--log-key", "a+b+c"), 2),
    ],
)
def test_the_command_ends_as_it_says(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    told = run(folder, *arguments)
    assert told.exit_code == code, told.output
    assert "Traceback" not in told.output


def test_without_a_key_it_says_how_to_make_one(tmp_path: Path) -> None:
    told = run(tmp_path, "--dir", tmp_path)
    assert told.exit_code == 1
    assert "--new-key" in told.output


class _Serving(SimpleHTTPRequestHandler):
    """A folder, and a place to hand cosignatures in."""

    handed: list[dict[str, object]]

    def __init__(self, handed: list[dict[str, object]], status: int, *rest: object, directory: str) -> None:
        self.handed, self.status = handed, status
        super().__init__(*rest, directory=directory)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.handed.append({"path": self.path, "token": self.headers["Authorization"], **body})
        answer = json.dumps({"detail": "nobody who is a witness"}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name it has there
        pass


@contextmanager
def served(folder: Path, status: int = 200) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """The folder at an address of this machine, and what was handed in there."""
    handed: list[dict[str, object]] = []
    handler = partial(_Serving, handed, status, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handed
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_over_http_the_cosignature_is_handed_in_with_the_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_TOKEN", "an-auditors-token")
    with served(folder) as (url, handed):
        told = run(folder, "--url", url, *KNOWN, "--json")
    assert told.exit_code == 0, told.output
    line = json.loads(told.stdout)["cosignature"]
    assert handed == [
        {"path": "/v1/ledger/cosignatures", "token": "Bearer an-auditors-token", "size": 20, "line": line}
    ]


def test_a_cosignature_that_is_not_taken_is_told_and_what_was_seen_stays_remembered(folder: Path) -> None:
    with served(folder, 409) as (url, _):
        told = run(folder, "--url", url, *KNOWN, "--json")
    assert told.exit_code == 1
    document = json.loads(told.stdout)
    assert (document["handed_in"], document["not_handed_in"]) == (False, "nobody who is a witness")
    assert (folder / "state").exists()
