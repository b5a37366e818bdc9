"""`deploy/image/certificates.py`: certificates that the links of docker-compose.yml are believed by."""

import os
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deploy.composed import mounted, services
from tests.deploy.dockerfile import ROOT

SCRIPT = ROOT / "deploy" / "image" / "certificates.py"
HEALTHY = ROOT / "deploy" / "image" / "healthy.py"


def _make(folder: Path, *before: str) -> str:
    command = [*before, sys.executable, "-I", str(SCRIPT), str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.pem")}


def test_every_service_that_mounts_a_certificate_has_one_and_the_authority_has_no_key(tmp_path: Path) -> None:
    _make(tmp_path)
    wanted = {target.rpartition("/")[2] for target in mounted(services()["certs"])}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert [path.name for path in (tmp_path / "public").iterdir()] == ["ca.pem"]
    for folder in tmp_path.iterdir():
        for key in [path for path in folder.iterdir() if path.name in ("key.pem", "both.pem")]:
            assert stat.S_IMODE(key.stat().st_mode) == 0o400


def test_each_key_belongs_to_the_user_who_reads_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away, as the one-shot of the compose file does")
    _make(tmp_path)
    owners = {path.name: (path / "key.pem").stat().st_uid for path in tmp_path.iterdir() if path.name != "public"}
    for name in ("data", "keyring"):
        assert str(owners[name]) == services()[name]["user"].partition(":")[0]
    assert owners["api"] == owners["consume"] == 10001


def test_a_second_run_makes_nothing_and_one_near_their_end_makes_all_anew(tmp_path: Path) -> None:
    assert "made" in _make(tmp_path)
    first = _all(tmp_path)
    assert _make(tmp_path) == ""
    assert _all(tmp_path) == first
    _run_at(tmp_path, datetime.now(UTC) + timedelta(days=340))
    assert all(first[name] != content for name, content in _all(tmp_path).items())


def test_one_that_is_missing_or_of_another_authority_makes_all_anew(tmp_path: Path) -> None:
    for spoilt in (tmp_path / "api" / "cert.pem", tmp_path / "data" / "key.pem", tmp_path / "public" / "ca.pem"):
        _make(tmp_path)
        spoilt.unlink()
        assert "made" in _make(tmp_path), spoilt
    other = tmp_path / "other"
    other.mkdir()
    _make(other)
    os.replace(other / "queue" / "cert.pem", tmp_path / "queue" / "cert.pem")  # noqa: PTH105  over a read-only file
    assert "made" in _make(tmp_path)


def _run_at(folder: Path, moment: datetime) -> None:
    """What the next start does on another day."""
    code = (
        "import runpy, sys; from datetime import datetime; from pathlib import Path\n"
        f"had = runpy.run_path({str(SCRIPT)!r}); at = datetime.fromisoformat({moment.isoformat()!r})\n"
        f"folder = Path({str(folder)!r})\n"
        "had['good'](folder, at) or had['make'](folder, at)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """An answer over TLS, with the API's certificate."""
    _make(tmp_path)
    server = HTTPServer(("127.0.0.1", 0), _Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "api" / "cert.pem", tmp_path / "api" / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    answering = threading.Thread(target=server.serve_forever)
    answering.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    answering.join()
    server.server_close()


def _healthy(url: str, **environment: str) -> int:
    command = [sys.executable, "-I", "-S", str(HEALTHY)]
    return subprocess.run(command, env={"HEALTH_URL": url, **environment}, check=False).returncode


def test_the_health_check_believes_the_certificate_of_its_own_authority_only(served: str, tmp_path: Path) -> None:
    assert _healthy(f"{served}/healthz", HEALTH_CA=str(tmp_path / "public" / "ca.pem")) == 0
    assert _healthy(f"{served}/healthz") == 1
    other = tmp_path / "other"
    other.mkdir()
    _make(other)
    assert _healthy(f"{served}/healthz", HEALTH_CA=str(other / "public" / "ca.pem")) == 1


def test_the_health_check_fails_on_any_other_answer_and_on_none(served: str, tmp_path: Path) -> None:
    authority = str(tmp_path / "public" / "ca.pem")
    assert _healthy(f"{served}/readyz", HEALTH_CA=authority) == 1
    assert _healthy("http://127.0.0.1:1/healthz") == 1
    assert _healthy("not an address") == 1
