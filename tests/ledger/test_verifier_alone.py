"""The verifier on its own: a wheel of the pure modules, installed where nothing else of Textkeep is."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.engines.needed import missing
from tests.ledger.sample_log import FIRST, SIGNER, WITNESSES, sample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline, from copies, so that nothing is left behind in the project."""
    folder = tmp_path_factory.mktemp("verifier")
    shutil.copytree(ROOT / "verifier", folder / "verifier")
    shutil.copytree(ROOT / "textkeep" / "ledger", folder / "textkeep" / "ledger")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    made = subprocess.run([*build, "--wheel-dir", folder, "./verifier"], cwd=folder, capture_output=True, text=True)
    if made.returncode and "bdist_wheel" in made.stderr:
        missing(request, "this environment has no setuptools of 77 or later, which builds the wheel: `make env`")
    assert made.returncode == 0, made.stderr
    return next(folder.glob("textkeep_verify-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, and nothing else but links to what it depends on."""
    target = tmp_path_factory.mktemp("alone")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(wheel)], check=True, capture_output=True)
    for name in ("cryptography", "rfc8785", "cffi", "_cffi_backend"):
        for path in Path(next(each for each in sys.path if each.endswith("site-packages"))).glob(f"{name}*"):
            (target / path.name).symlink_to(path)
    return target


def alone(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_pure_modules_and_their_command_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        names = [name for name in held.namelist() if "dist-info" not in name]
        metadata = held.read(next(name for name in held.namelist() if name.endswith("METADATA"))).decode()
    assert {Path(name).parts[0] for name in names} == {"textkeep_verify"}
    assert not {"log.py", "signer.py", "tiles.py", "witness.py"} & {Path(name).name for name in names}
    wanted = [line.partition(":")[2].strip() for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert sorted(each.partition(">")[0] for each in wanted) == ["cryptography", "rfc8785"]


def test_it_verifies_a_report_where_no_other_part_of_textkeep_can_be_imported(installed: Path, tmp_path: Path) -> None:
    log = sample()
    reports, ledger = log.write_reports(tmp_path / "reports", WITNESSES[:1]), log.publish(tmp_path / "log")
    told = alone(
        installed, "-c", "import importlib.util as u; print(u.find_spec('textkeep'), u.find_spec('sqlalchemy'))"
    )
    assert told.stdout == "None None\n"
    command = ["-m", "textkeep_verify.verifying", str(reports / f"{FIRST}.json"), "--key", str(SIGNER.verifier)]
    command += ["--witness", str(WITNESSES[0].witness), "--chain", str(reports), "--ledger", str(ledger)]
    told = alone(installed, *command)
    assert told.returncode == 0, told.stderr
    assert "VERIFIED. " in told.stdout
    report = reports / f"{FIRST}.json"
    report.write_bytes(report.read_bytes().replace(b'"lost":0', b'"lost":1'))
    told = alone(installed, *command)
    assert (told.returncode, told.stderr) == (1, "")


def test_every_module_of_it_is_in_the_list_of_pure_ones() -> None:
    listed = tomllib.loads((ROOT / "verifier" / "pyproject.toml").read_text())["tool"]["setuptools"]["py-modules"]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    pure = next(each for each in contracts if each["id"] == "pure")["source_modules"]
    apart = next(each for each in contracts if each["id"] == "verifier")["source_modules"]
    named = {each.replace("textkeep_verify.", "textkeep.ledger.") for each in listed}
    assert named <= set(pure)
    assert named == set(apart)
