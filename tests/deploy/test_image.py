"""The first stage of the image, run here: its own RUN lines, over the context that a build would be given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT, context, stages


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for /opt once every RUN of the first stage has been done."""
    top = tmp_path_factory.mktemp("image")
    opt, src, sent = top / "opt", top / "src", context(ROOT)
    (top / "bin").mkdir()
    (top / "bin" / "python").symlink_to(getattr(sys, "_base_executable", sys.executable))
    environment = {
        "PATH": f"{top / 'bin'}:/usr/bin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()},
    }
    src.mkdir()
    for each in stages((ROOT / "Dockerfile").read_text())[0]:
        if each.name == "COPY":
            _copy(each.value.split(), sent, src, opt)
        elif each.name == "RUN":
            command = each.value.replace("/opt/", f"{opt}/")
            done = subprocess.run(
                ["/bin/sh", "-euc", command], cwd=src, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return opt


def _copy(words: list[str], sent: set[str], src: Path, opt: Path) -> None:
    """Do a COPY, of what is sent to the builder only."""
    *sources, to = words
    for source in sources:
        for path in sorted(sent):
            if path != source and not path.startswith(f"{source}/"):
                continue
            inside = Path(path).relative_to(source) if path != source else Path(Path(source).name)
            target = opt / to.removeprefix("/opt/") if to.startswith("/opt/") else src / to
            target.joinpath(inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, target / inside)


def _run(built: Path, *words: str, data: Path) -> subprocess.CompletedProcess[str]:
    """A command through the image's own start, in an environment with nothing of this machine in it."""
    return subprocess.run(
        ["/bin/sh", built / "textkeep" / "image" / "start.sh", *words],
        env={"PATH": f"{built / 'textkeep' / 'bin'}:/usr/bin:/bin", "TEXTKEEP_DATA": str(data), "PYTHONSAFEPATH": "1"},
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_installed_program_says_its_version(built: Path, tmp_path: Path) -> None:
    told = _run(built, "--version", data=tmp_path / "data")
    assert (told.returncode, told.stdout.split()[0]) == (0, "textkeep")


def test_every_process_is_there_with_what_it_imports(built: Path, tmp_path: Path) -> None:
    for command in ("api", "follow", "keep", "consume", "migrate"):
        told = _run(built, command, "--help", data=tmp_path / "data")
        assert told.returncode == 0, f"{command}: {told.stderr[-500:]}"
    python = built / "textkeep" / "bin" / "python"
    imports = "import psycopg, opensearchpy, confluent_kafka, textkeep.service.wiring"
    done = subprocess.run([python, "-I", "-c", imports], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_makes_an_archive_and_finds_nothing_wrong_in_it(built: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert _run(built, "migrate", data=data).returncode == 0
    told = _run(built, "doctor", data=data)
    assert "FAIL" not in told.stdout, told.stdout
    assert told.returncode == 0, told.stderr
    assert "WARN  core dumps: a crash may write" not in told.stdout, "start.sh turns them off"


def test_no_installer_and_no_test_goes_along(built: Path) -> None:
    packages = next((built / "textkeep" / "lib").glob("python3.*")) / "site-packages"
    there = {path.name for path in packages.iterdir()}
    assert "textkeep" in there
    assert not there & {"pip", "setuptools", "pytest", "tests", "_pytest"}
    assert (packages / "textkeep" / "service" / "cli.py").is_file()
    assert {path.name for path in (built / "textkeep" / "image").iterdir()} == {
        "start.sh",
        "healthy.py",
        "certificates.py",
        "token.sh",
    }
