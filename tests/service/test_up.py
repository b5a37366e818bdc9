"""`textkeep up`: where it listens, how it stops, and how other commands find it."""

import json
import os
import signal
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Run = Any
"""The fixture `cli`; conftest.py says what it can do."""
Process = subprocess.Popen[bytes]

EVERY = "0.0.0.0"  # noqa: S104  asked of the command, not bound here


def started(process: Process) -> dict[str, Any]:
    """What `up --json` prints once it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate()[1])
    told: dict[str, Any] = json.loads(line)
    return told


def stop(process: Process, number: int = signal.SIGTERM) -> bytes:
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    return err


@pytest.fixture
def up(cli: Run) -> Iterator[Callable[..., Process]]:
    begun: list[Process] = []

    def begin(*words: str, **settings: str) -> Process:
        begun.append(cli.start("up", "--port", "0", "--json", *words, **settings))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "archive.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert), str(private)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_stop_and_leaves_nothing_behind(cli: Run, up: Any, number: int) -> None:
    process = up()
    told = started(process)
    assert httpx.get(told["url"] + "/readyz").status_code == 200
    address = cli.data / "service.json"
    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    assert json.loads(address.read_bytes())["pid"] == process.pid
    stop(process, number)
    assert not address.exists()
    stop_again = up()
    assert started(stop_again)["url"]
    stop(stop_again)


def test_commands_go_to_the_service_that_runs_on_the_folder(cli: Run, up: Any) -> None:
    process = up()
    started(process)
    made = cli.json("token", "create", "--role", "officer", "--for", "ada")
    assert cli.json("keyring", "status")["secrets"] > 400
    answer = httpx.get(
        json.loads((cli.data / "service.json").read_bytes())["url"] + "/v1/capabilities",
        headers={"Authorization": f"Bearer {made['token']}"},
    )
    assert answer.status_code == 200
    stop(process)


def test_it_leaves_a_token_for_its_os_user_and_a_new_one_when_that_is_revoked(cli: Run, up: Any) -> None:
    process = up()
    started(process)
    own = cli.data / "token"
    first = own.read_text()
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    [token] = cli.json("token", "list")["tokens"]
    assert (token["roles"], token["orgs"]) == (["officer"], None)
    cli("token", "revoke", token["id"])
    stop(process)
    process = up()
    started(process)
    assert own.read_text() != first
    stop(process)


def test_a_second_one_on_the_same_folder_is_told_who_has_it(cli: Run, up: Any) -> None:
    process = up()
    started(process)
    second = cli("up", "--port", "0", code=3)
    assert f"process {process.pid}".encode() in second.stderr
    stop(process)


def test_after_kill_9_the_next_command_opens_the_folder_itself(cli: Run, up: Any) -> None:
    process = up()
    started(process)
    process.kill()
    process.wait()
    assert (cli.data / "service.json").exists()
    assert cli.json("keyring", "status")["secrets"] > 400
    assert not (cli.data / "service.json").exists()


@pytest.mark.parametrize("host", [EVERY, "::", "192.0.2.1", "archive.example"])
def test_a_public_address_without_tls_is_refused_and_nothing_is_opened(cli: Run, host: str) -> None:
    done = cli("up", "--host", host, "--port", "0", code=1)
    assert b"unencrypted" in done.stderr
    assert b"--insecure-public-http" in done.stderr
    assert not cli.data.exists()


def test_the_flag_that_names_the_danger_lets_it_through(cli: Run, up: Any) -> None:
    process = up("--host", EVERY, "--insecure-public-http")
    url = started(process)["url"]
    assert httpx.get(url.replace(EVERY, "127.0.0.1") + "/healthz").status_code == 200
    assert cli.json("days") is not None
    stop(process)


def test_with_tls_a_public_address_is_fine_and_commands_trust_that_certificate_alone(
    cli: Run, up: Any, certificate: tuple[str, str]
) -> None:
    process = up("--host", EVERY, "--tls-cert", certificate[0], "--tls-key", certificate[1])
    url = started(process)["url"]
    assert url.startswith(f"https://{EVERY}:")
    context = ssl.create_default_context(cafile=certificate[0])
    context.check_hostname = False
    assert httpx.get(url.replace(EVERY, "127.0.0.1") + "/healthz", verify=context).status_code == 200
    assert cli.json("keyring", "status")["secrets"] > 400
    stop(process)


def test_a_certificate_without_its_key_or_a_file_that_is_none_is_refused(
    cli: Run, certificate: tuple[str, str], tmp_path: Path
) -> None:
    assert b"come together" in cli("up", "--tls-cert", certificate[0], code=2).stderr
    (tmp_path / "no.pem").write_text("nothing")
    done = cli("up", "--port", "0", "--tls-cert", str(tmp_path / "no.pem"), "--tls-key", certificate[1], code=1)
    assert b"cannot be used" in done.stderr


def test_an_address_that_is_taken_is_refused_and_the_folder_given_back(cli: Run, up: Any, tmp_path: Path) -> None:
    process = up()
    port = started(process)["url"].rpartition(":")[2]
    other = type(cli)(tmp_path / "other")
    assert b"cannot be listened on" in other("up", "--port", port, code=1).stderr
    assert other.json("keyring", "status")["secrets"] > 400
    stop(process)


def test_its_log_is_json_and_holds_no_secret(cli: Run, up: Any) -> None:
    process = up()
    started(process)
    secret = json.loads((cli.data / "service.json").read_bytes())["secret"]
    httpx.get(json.loads((cli.data / "service.json").read_bytes())["url"] + "/v1/days?canary-0123456789")
    log = stop(process)
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events[0] == "listening"
    assert events[-1] == "stopped"
    assert secret.encode() not in log
    assert b"canary" not in log


def test_no_core_is_ever_dumped_from_a_running_archive(up: Any) -> None:
    process = up()
    started(process)
    limits = Path(f"/proc/{process.pid}/limits")
    if limits.exists():
        [line] = [line for line in limits.read_text().splitlines() if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"]
    assert os.getpid() != process.pid
    stop(process)
