"""SoftHSM2: a PKCS#11 token in files of the session's folder, by the module that Debian's package `softhsm2` brings."""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.engines.process import EngineFailed
from tests.engines.sharing import Running, Session

MODULES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
LABEL: Final = "textkeep-tests"
INIT: Final = ("softhsm2-util", "--init-token", "--free")


def start(session: Session) -> Running:
    """A new token, for this session alone. Raises EngineFailed."""
    folder = session.folder / "softhsm"
    address, settings = token(folder)
    return Running(address, "SoftHSM2 of this machine", extra=settings)


def token(folder: Path) -> tuple[str, dict[str, str]]:
    """A new token in a folder: its address, and what the module needs in the environment. Raises EngineFailed."""
    tokens, conf, pin = folder / "tokens", folder / "softhsm2.conf", folder / "pin"
    tokens.mkdir(parents=True)
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    pin.write_text(secrets.token_hex(8))
    pin.chmod(0o600)
    settings = {"SOFTHSM2_CONF": str(conf)}
    done = subprocess.run(
        [*INIT, "--label", LABEL, "--so-pin", secrets.token_hex(8), "--pin", pin.read_text()],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **settings},
    )
    if done.returncode != 0:
        raise EngineFailed(f"no token could be made: {done.stderr.strip()[-500:]}")
    return f"pkcs11:token={LABEL}?module-path={_module()}&pin-source=file:{pin}", settings


def lacking() -> str | None:
    """What is missing for a token, or None."""
    if shutil.which("softhsm2-util") is None or _module() is None:
        return "softhsm2 is not installed (apt-get install softhsm2)"
    return None


def _module() -> str | None:
    return next((each for each in MODULES if Path(each).exists()), None)
