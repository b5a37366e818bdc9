"""A token or a KMS that is away, locked or another one; addresses that are none."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pkcs11
import pytest
from pkcs11 import Attribute

from tests.engines import softhsm as engine
from tests.engines.kms import CREDENTIALS, REGION, KmsServer
from tests.engines.needed import missing
from tests.engines.process import EngineFailed, free_ports
from textkeep.archive.drivers.root_aws import AwsRoot, place_of
from textkeep.archive.drivers.root_pkcs11 import Pkcs11Root, token_of
from textkeep.archive.drivers.roots import in_token
from textkeep.archive.ring import Root
from textkeep.errors import Outage, Unsound

KEY = bytes(range(32))
FIELD = "TEXTKEEP_ROOT_KEY"


def root_of(address: str) -> Root:
    root = in_token(address, secrets.token_hex(8), "ring")
    assert root is not None
    return root


@pytest.mark.parametrize(
    "address",
    [
        "pkcs11:",
        "pkcs11:token=x",
        "pkcs11:token=x?module-path=/m.so",
        "pkcs11:token=x?module-path=m.so&pin-source=file:/pin",
        "pkcs11:token=x?module-path=/m.so&pin-source=pin",
        "pkcs11:token=x?module-path=/m.so&pin-source=file:/pin&pin-value=1234",
        "pkcs11:token=x;colour=red?module-path=/m.so&pin-source=file:/pin",
        "pkcs11:?module-path=/m.so&pin-source=file:/pin",
        "aws:",
        "aws:eu central",
        "aws:eu-central-1?waiting-days=6",
        "aws:eu-central-1?waiting-days=31",
        "aws:eu-central-1?waiting-days=seven",
        "aws:eu-central-1?secret=canary",
        "aws:eu-central-1?endpoint=no address",
    ],
)
def test_an_address_that_is_none_is_refused_with_the_form_it_should_have(address: str) -> None:
    with pytest.raises(Unsound) as refused:
        root_of(address)
    assert refused.value.field == FIELD
    assert refused.value.remedy.startswith("Write ")
    assert "canary" not in refused.value.detail + refused.value.remedy


def test_an_address_of_a_token_is_read_as_rfc_7512_writes_it() -> None:
    found = token_of("pkcs11:token=my%20token;serial=00ff?module-path=/usr/lib/a%2Bb+c.so&pin-source=file:///etc/pin")
    assert found.attributes == {"token": "my token", "serial": "00ff"}
    assert (found.module, found.pin) == ("/usr/lib/a+b+c.so", Path("/etc/pin"))
    assert "/etc/pin" not in repr(found)


def test_a_module_a_token_or_a_pin_that_is_not_there_is_told_apart(softhsm: str, tmp_path: Path) -> None:
    with pytest.raises(Unsound, match="module cannot be loaded"):
        root_of(softhsm.replace("module-path=/", "module-path=/nowhere/")).known()
    with pytest.raises(Outage, match="does not answer"):
        root_of(softhsm.replace(f"token={engine.LABEL}", "token=another")).known()
    with pytest.raises(Unsound, match="PIN cannot be read"):
        root_of(softhsm.partition("&pin-source")[0] + f"&pin-source=file:{tmp_path / 'none'}").create()


def test_a_wrong_pin_is_named_and_not_shown(softhsm: str, tmp_path: Path) -> None:
    """In a process of its own: login is the process's, and every later session of it is logged in."""
    wrong = tmp_path / "pin"
    wrong.write_text("canary-1234")
    address = softhsm.partition("&pin-source")[0] + f"&pin-source=file:{wrong}"
    program = (
        "import sys; from textkeep.archive.drivers.roots import in_token\n"
        "try: in_token(sys.argv[1], '00', 'ring').create()\n"
        "except Exception as exc: print(type(exc).__name__, exc.detail, exc.remedy)"
    )
    done = subprocess.run([sys.executable, "-c", program, address], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Unsound the token does not take its PIN")
    assert "canary" not in done.stdout + done.stderr


def test_no_key_can_be_taken_out_of_the_token(softhsm: str) -> None:
    root = root_of(softhsm)
    assert isinstance(root, Pkcs11Root)
    name = root.create()
    key = root._key(root._opened(), name)
    assert not key[Attribute.EXTRACTABLE]
    assert key[Attribute.NEVER_EXTRACTABLE]
    with pytest.raises(pkcs11.exceptions.AttributeSensitive):
        key[Attribute.VALUE]
    for copied in ({Attribute.EXTRACTABLE: True}, {Attribute.SENSITIVE: False}):
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            key.copy(copied)
    with pytest.raises(pkcs11.exceptions.PKCS11Error):
        key[Attribute.EXTRACTABLE] = True
    root.forget(name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what the client closes late
def test_a_session_that_the_token_ended_is_opened_again(softhsm: str) -> None:
    root = root_of(softhsm)
    assert isinstance(root, Pkcs11Root)
    name = root.create()
    sealed = root.wrap(name, KEY)
    root._session.close()
    assert root.unwrap(name, sealed) == KEY
    root.close()
    root.close()
    assert root.unwrap(name, sealed) == KEY
    root.forget(name)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def test_a_kms_that_is_away_is_an_outage(credentials: None) -> None:
    (port,) = free_ports(1)
    root = root_of(f"aws:{REGION}?endpoint=http://127.0.0.1:{port}")
    with pytest.raises(Outage) as refused:
        root.known()
    assert refused.value.retry_after


def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Unsound, match="no credentials"):
        root_of(f"aws:{REGION}?endpoint=http://127.0.0.1:1").known()


@pytest.fixture
def server(request: pytest.FixtureRequest, credentials: None) -> Iterator[KmsServer]:
    """A KMS of this test's own."""
    started = KmsServer()
    try:
        started.start()
    except EngineFailed as exc:
        missing(request, str(exc))
    yield started
    started.end()


def test_what_happens_to_a_key_in_kms_is_told_apart(server: KmsServer) -> None:
    root = root_of(server.address)
    assert isinstance(root, AwsRoot)
    name = root.create()
    sealed = root.wrap(name, KEY)
    kms = boto3.client("kms", region_name=REGION, endpoint_url=place_of(server.address).endpoint)
    kms.disable_key(KeyId=name)
    with pytest.raises(Unsound, match="disabled") as refused:
        root.unwrap(name, sealed)
    assert "enabled" in refused.value.remedy
    kms.enable_key(KeyId=name)
    assert root.unwrap(name, sealed) == KEY
    kms.schedule_key_deletion(KeyId=name, PendingWindowInDays=7)  # as a crash before the alias went leaves it
    root.forget(name)
    assert root.known() == set()
    assert root.fate(name).ends_at is not None
    server.days_later(7.01)
    assert (root.fate(name).gone, root.fate(name).ends_at) == (True, None)
    root.forget(name)
    server.kill()
    with pytest.raises(Outage):
        root.create()
