"""Sealing: opens in its place, under its keys and unaltered, or not at all."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from textkeep.archive import keyring as keyring_module
from textkeep.archive import ring as ring_module
from textkeep.archive import sealing as sealing_module
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import (
    Keyring,
    Purpose,
    SecretDestroyed,
    SecretMissing,
    org_secret,
    prefixed,
)
from textkeep.archive.ring import NONCE_BYTES
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.text import HOUSE, Handle

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY, NEXT = "2026-11-22", "2026-11-23"
ORG, OTHER = Handle(b"\x00" * 7 + b"\x01"), Handle(b"\x00" * 7 + b"\x02")
BOUND = (b"20261122-00-1", b"commitment")
CHANGED: list[tuple[Purpose, str, Handle, tuple[bytes, ...]]] = [
    ("tag", DAY, ORG, BOUND),
    ("body", NEXT, ORG, BOUND),
    ("body", "house", ORG, BOUND),
    ("body", DAY, OTHER, BOUND),
    ("body", DAY, HOUSE, BOUND),
    ("body", DAY, ORG, (b"20261122-00-2", BOUND[1])),
    ("body", DAY, ORG, (BOUND[0], b"Commitment")),
    ("body", DAY, ORG, BOUND[::-1]),
    ("body", DAY, ORG, (b"".join(BOUND),)),
    ("body", DAY, ORG, (BOUND[0] + b"c", BOUND[1][1:])),
    ("body", DAY, ORG, (*BOUND, b"")),
    ("body", DAY, ORG, BOUND[:1]),
    ("body", DAY, ORG, ()),
]


def new_keyring(folder: Path) -> Keyring:
    made = Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=True)
    made.make([f"shelf:{DAY}", f"shelf:{NEXT}", org_secret(ORG), org_secret(OTHER)])
    return made


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """Two days and two organisations."""
    return new_keyring(tmp_path / "keyring")


@pytest.fixture
def sealer(keyring: Keyring) -> Sealer:
    """A sealer over that keyring."""
    return Sealer(keyring)


@pytest.fixture(scope="module")
def one_sealer(tmp_path_factory: pytest.TempPathFactory) -> Sealer:
    """One for all that hypothesis tries."""
    return Sealer(new_keyring(tmp_path_factory.mktemp("sealing") / "keyring"))


def vectors(shared: Path, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((shared / "data/wycheproof" / name).read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, {key: bytes.fromhex(value) if key in BYTES else value for key, value in test.items()}


BYTES = ("key", "iv", "aad", "msg", "ct", "tag", "ikm", "salt", "info", "okm")


def test_the_cipher_passes_every_vector_of_its_key_and_nonce_size(shared: Path) -> None:
    """AES-256-GCM with 96-bit nonces and 128-bit tags, by the class that the sealer and the keyring use."""
    assert vars(sealing_module)["AESGCM"] is vars(ring_module)["AESGCM"] is AESGCM
    results = []
    for group, test in vectors(shared, "aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 8 * NONCE_BYTES, 128):
            continue
        cipher = AESGCM(test["key"])
        sealed = test["ct"] + test["tag"]
        results.append(test["result"])
        if test["result"] == "valid":
            assert cipher.encrypt(test["iv"], test["msg"], test["aad"]) == sealed, test["tcId"]
            assert cipher.decrypt(test["iv"], sealed, test["aad"]) == test["msg"], test["tcId"]
        else:
            with pytest.raises(InvalidTag):
                cipher.decrypt(test["iv"], sealed, test["aad"])
    assert (len(results), set(results)) == (66, {"valid", "invalid"})


def test_the_key_derivation_passes_every_vector(shared: Path) -> None:
    """HKDF-SHA256 by the class that the keyring uses; sizes over 255 blocks are refused."""
    results = []
    for _, test in vectors(shared, "hkdf_sha256_test.json"):
        results.append(test["result"])
        if test["result"] == "valid":
            assert derive(test) == test["okm"], test["tcId"]
        else:
            with pytest.raises(ValueError, match="larger than"):
                derive(test)
    assert (len(results), set(results)) == (86, {"valid", "invalid"})


def derive(test: dict[str, Any]) -> bytes:
    """As the keyring does, which has no salt; so have some of the vectors."""
    assert vars(keyring_module)["HKDF"] is HKDF
    hkdf = HKDF(algorithm=SHA256(), length=test["size"], salt=test["salt"] or None, info=test["info"])
    return hkdf.derive(test["ikm"])


@given(st.binary(max_size=300), st.lists(st.binary(max_size=40), max_size=4))
def test_what_was_sealed_opens_in_its_place(one_sealer: Sealer, plain: bytes, bound: list[bytes]) -> None:
    sealed = one_sealer.seal("body", DAY, ORG, bound, plain)
    assert one_sealer.open("body", DAY, ORG, bound, sealed) == plain
    assert len(sealed) == 1 + 12 + len(plain) + 16
    assert len(plain) < 16 or plain not in sealed


def test_the_bytes_are_laid_out_as_documented(keyring: Keyring, sealer: Sealer) -> None:
    sealed = sealer.seal("body", DAY, ORG, BOUND, b"plain")
    cipher = AESGCM(keyring.derive("body", DAY, ORG))
    place = prefixed(b"\x01", DAY.encode(), ORG, *BOUND)
    assert sealed[:1] == b"\x01"
    assert cipher.decrypt(sealed[1:13], sealed[13:], place) == b"plain"


def test_the_same_text_is_never_sealed_into_the_same_bytes(sealer: Sealer) -> None:
    sealed = {sealer.seal("body", DAY, ORG, BOUND, b"yes") for _ in range(2000)}
    assert len({each[1:13] for each in sealed}) == len({each[13:] for each in sealed}) == 2000


@pytest.mark.parametrize("place", CHANGED)
def test_in_another_place_it_does_not_open(
    sealer: Sealer, place: tuple[Purpose, str, Handle, tuple[bytes, ...]]
) -> None:
    sealed = sealer.seal("body", DAY, ORG, BOUND, b"plain")
    with pytest.raises(CannotOpen) as caught:
        sealer.open(*place, sealed)
    assert caught.value.__cause__ is None
    assert "plain" not in str(caught.value)


def test_with_any_bit_turned_it_does_not_open(sealer: Sealer) -> None:
    sealed = sealer.seal("body", DAY, ORG, BOUND, b"a plain text")
    for bit in range(8 * len(sealed)):
        turned = bytearray(sealed)
        turned[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotOpen):
            sealer.open("body", DAY, ORG, BOUND, bytes(turned))
    assert sealer.open("body", DAY, ORG, BOUND, sealed) == b"a plain text"


def test_cut_anywhere_or_longer_it_does_not_open(sealer: Sealer) -> None:
    sealed = sealer.seal("body", DAY, ORG, BOUND, b"a plain text")
    shorter = [sealed[:end] for end in range(len(sealed))] + [sealed[start:] for start in range(1, len(sealed))]
    for other in [*shorter, sealed + b"\x00", b"\x01" + sealed, sealed + sealed, b"\x01" * 64]:
        with pytest.raises(CannotOpen):
            sealer.open("body", DAY, ORG, BOUND, other)


@given(st.binary(max_size=100))
def test_bytes_from_elsewhere_never_open(one_sealer: Sealer, anything: bytes) -> None:
    for sealed in (anything, b"\x01" + anything):
        with pytest.raises(CannotOpen):
            one_sealer.open("body", DAY, ORG, BOUND, sealed)


@given(st.binary(min_size=1, max_size=20), st.binary(max_size=20))
def test_halves_of_two_records_never_open(one_sealer: Sealer, one: bytes, other: bytes) -> None:
    left, right = (one_sealer.seal("body", DAY, ORG, BOUND, plain) for plain in (one, other))
    for mixed in (left[:13] + right[13:], left[:-16] + right[-16:]):
        with pytest.raises(CannotOpen):
            one_sealer.open("body", DAY, ORG, BOUND, mixed)


@pytest.mark.parametrize("name", [f"shelf:{DAY}", org_secret(ORG)])
def test_either_secret_gone_closes_it_for_good(keyring: Keyring, sealer: Sealer, name: str) -> None:
    sealed = sealer.seal("body", DAY, ORG, BOUND, b"plain")
    beside = sealer.seal("body", NEXT, OTHER, BOUND, b"beside")
    keyring.destroy(name, entry="1", now=NOW)
    uses: list[Callable[[], bytes]] = [
        lambda: sealer.open("body", DAY, ORG, BOUND, sealed),
        lambda: Sealer(keyring).open("body", DAY, ORG, BOUND, sealed),
        lambda: sealer.seal("body", DAY, ORG, BOUND, b"more"),
    ]
    for use in uses:
        with pytest.raises(SecretDestroyed):
            use()
    assert sealer.open("body", NEXT, OTHER, BOUND, beside) == b"beside"


def test_nothing_is_sealed_for_a_shelf_without_a_secret(sealer: Sealer) -> None:
    with pytest.raises(SecretMissing):
        sealer.seal("body", "2031-01-01", ORG, BOUND, b"plain")
    with pytest.raises(SecretMissing):
        sealer.open("body", "2031-01-01", ORG, BOUND, b"\x01" * 40)


def test_another_keyring_opens_nothing(sealer: Sealer, tmp_path: Path) -> None:
    sealed = sealer.seal("body", DAY, ORG, BOUND, b"plain")
    other = Sealer(new_keyring(tmp_path / "other"))
    with pytest.raises(CannotOpen):
        other.open("body", DAY, ORG, BOUND, sealed)


def test_keys_and_ciphers_are_kept_up_to_a_bound_those_used_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_module, "DERIVED_KEYS", 5)
    monkeypatch.setattr(sealing_module, "CIPHERS", 4)
    keyring = new_keyring(tmp_path / "bounded")
    sealer = Sealer(keyring)
    keyring.make(f"shelf:{number}" for number in range(20))
    sealed = [sealer.seal("body", str(number), ORG, [], str(number).encode()) for number in range(20)]
    assert [name[1] for name in sealer._ciphers] == ["16", "17", "18", "19"]
    opened = [sealer.open("body", str(number), ORG, [], each) for number, each in enumerate(sealed)]
    assert opened == [str(number).encode() for number in range(20)]
    assert (len(keyring._derived), len(sealer._ciphers)) == (5, 4)
