"""What the keyring promises of its secrets, and of destroying them."""

import hashlib
import hmac
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from tests.archive.keeping import NOW, Keeping
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import (
    Keyring,
    Purpose,
    SecretDestroyed,
    SecretMissing,
    commitment_of,
    org_secret,
    prefixed,
    shelf_secret,
)
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE, Handle
from textkeep.errors import Unsound

ORG = Handle(bytes(range(8)))
DAY = "2026-11-22"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the roots lie, in a folder of their own."""
    return tmp_path / "keyring"


@pytest.fixture
def keyring(keeping: Keeping) -> Keyring:
    """A keyring with a day, another day and an organisation."""
    made = keeping.opened()
    made.make([shelf_secret(DAY), shelf_secret("2026-11-23"), org_secret(ORG)])
    return made


def hkdf(material: bytes, info: bytes, size: int = 32) -> bytes:
    """HKDF-SHA256 without salt, as RFC 5869 has it in section 2."""
    key = hmac.digest(bytes(32), material, "sha256")
    made, block = b"", b""
    for count in range(1, -(-size // 32) + 1):
        block = hmac.digest(key, block + info + bytes([count]), "sha256")
        made += block
    return made[:size]


def test_the_oracle_gives_the_third_example_of_rfc_5869() -> None:
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(b"\x0b" * 22, b"", 42).hex() == expected


def test_a_key_is_derived_from_both_secrets_for_one_purpose_and_place(keyring: Keyring, keeping: Keeping) -> None:
    secrets = keeping.secrets()
    info = b"".join(len(part).to_bytes(4, "big") + part for part in (b"body", DAY.encode(), ORG))
    material = secrets[f"shelf:{DAY}"] + secrets[f"org:{ORG.hex()}"]
    assert keyring.derive("body", DAY, ORG) == hkdf(material, info)
    house = b"".join(len(part).to_bytes(4, "big") + part for part in (b"directory", b"house", bytes(8)))
    assert keyring.derive("directory", "house", HOUSE) == hkdf(secrets["house"] * 2, house)


def test_every_purpose_shelf_and_organisation_has_a_key_of_its_own(keyring: Keyring) -> None:
    other = Handle(bytes(range(1, 9)))
    keyring.make([org_secret(other)])
    purposes: tuple[Purpose, ...] = (
        "body",
        "tag",
        "token",
        "vocabulary",
        "quarantine",
        "activity",
        "directory",
        "hold",
    )
    keys = [
        keyring.derive(purpose, shelf, org)
        for purpose in purposes
        for shelf in (DAY, "2026-11-23", "house")
        for org in (ORG, other, HOUSE)
    ]
    assert len(set(keys)) == len(keys) == 8 * 9
    assert {len(key) for key in keys} == {32}
    assert keyring.derive("body", DAY, ORG) == keys[0]


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_two_lists_of_parts_never_give_the_same_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (prefixed(*one) == prefixed(*other)) == (one == other)


def test_secrets_are_random_kept_and_never_made_anew(keyring: Keyring, keeping: Keeping) -> None:
    before = keeping.secrets()
    assert len(set(before.values())) == 4
    assert {len(secret) for secret in before.values()} == {32}
    keyring.make(before)
    keyring.make([])
    again = keeping.opened(create=False)
    again.make([*before, "shelf:new"])
    assert {name: secret for name, secret in keeping.secrets().items() if name != "shelf:new"} == before


def test_a_commitment_names_a_secret_before_and_after_its_end(keyring: Keyring, keeping: Keeping) -> None:
    secret = keeping.secrets()[shelf_secret(DAY)]
    name = f"shelf:{DAY}".encode()
    known = hashlib.sha256(b"textkeep-secret-v1" + len(name).to_bytes(4, "big") + name + secret).digest()
    assert keyring.commitment(shelf_secret(DAY)) == commitment_of(shelf_secret(DAY), secret) == known
    stone = keyring.destroy(shelf_secret(DAY), entry="17", now=NOW)
    assert stone.commitment == keyring.commitment(shelf_secret(DAY)) == known
    assert keeping.opened().tombstone(shelf_secret(DAY)) == stone
    assert (stone.name, stone.entry, stone.destroyed_at) == (shelf_secret(DAY), "17", NOW.isoformat())


def test_what_was_destroyed_is_told_from_what_never_was(keyring: Keyring) -> None:
    keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
    with pytest.raises(SecretDestroyed):
        keyring.derive("body", DAY, ORG)
    with pytest.raises(SecretMissing):
        keyring.derive("body", "2031-01-01", ORG)
    with pytest.raises(SecretMissing):
        keyring.derive("body", "2026-11-23", Handle(b"nobody!!"))
    with pytest.raises(SecretMissing):
        keyring.commitment("shelf:never")
    with pytest.raises(SecretMissing):
        keyring.destroy("shelf:never", entry="1", now=NOW)
    assert len(keyring.derive("body", "2026-11-23", ORG)) == 32


def test_a_destroyed_secret_is_never_made_again(keyring: Keyring, keeping: Keeping) -> None:
    keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
    for again in (keyring, keeping.opened()):
        with pytest.raises(SecretDestroyed):
            again.make(["shelf:beside", shelf_secret(DAY)])
        assert not again.has("shelf:beside")
        assert not again.has(shelf_secret(DAY))


def test_destroying_again_changes_nothing(keyring: Keyring, keeping: Keeping) -> None:
    stone = keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
    before = keeping.document()
    later = NOW.replace(year=2027)
    assert keyring.destroy(shelf_secret(DAY), entry="2", now=later) == stone
    assert keeping.opened().destroy(shelf_secret(DAY), entry="3", now=later) == stone
    assert keeping.document() == before


def test_no_copy_taken_before_a_destruction_opens_with_the_roots_of_afterwards(
    keeping: Keeping, tmp_path: Path
) -> None:
    keyring = keeping.opened()
    copies = []
    for step in range(12):
        keyring.make([f"shelf:{step}", f"shelf:also-{step}"])
        copies.append(keeping.copy(tmp_path / f"copy-{step}"))
        if step % 3 == 0:
            keyring.destroy(f"shelf:{step}", entry="1", now=NOW)
            copies.append(keeping.copy(tmp_path / f"copy-{step}-after"))
    for copy in copies:
        assert copy.opened(copy.roots, tmp_path / "then").has("house")
    keyring.destroy("shelf:1", entry="1", now=NOW)
    assert len(copies) == 16
    for copy in copies:
        with pytest.raises(Unsound):
            copy.opened(keeping.roots, tmp_path / "now")


def test_a_root_is_overwritten_in_its_place_before_its_name_goes(folder: Path) -> None:
    """Cut short first, the file would be given new blocks, and the key stay in the old ones."""
    roots = LocalRoot(folder)
    key = folder / roots.create()
    with key.open("ab") as file:
        file.write(b"k" * 4064)  # longer than a key, so that cutting it short would show
    same = folder / "another-name-of-the-same-file"
    os.link(key, same)
    roots.forget(key.name)
    assert same.read_bytes() == bytes(4096)
    assert not key.exists()


def test_what_is_no_root_key_is_left_alone(keyring: Keyring, keeping: Keeping) -> None:
    (keeping.roots / "lost+found").mkdir()
    (keeping.roots / "README").write_text("a person's note")
    keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
    keeping.opened(create=False)
    assert keeping.known_roots() == {"lost+found", "README", keyring.status().root}


def test_after_each_destruction_only_the_ring_s_own_root_is_left(keyring: Keyring, keeping: Keeping) -> None:
    for name in (shelf_secret(DAY), shelf_secret("2026-11-23"), org_secret(ORG)):
        keyring.destroy(name, entry="1", now=NOW)
        assert keeping.known_roots() == {keyring.status().root}


def test_keys_kept_in_memory_go_with_the_secret(keyring: Keyring) -> None:
    sealer = Sealer(keyring)
    sealed = {day: sealer.seal("body", day, ORG, [], b"plain") for day in (DAY, "2026-11-23")}
    told: list[str] = []
    keyring.subscribe(told.append)
    keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
    assert told == [shelf_secret(DAY)]
    uses: list[Callable[[], bytes]] = [
        lambda: keyring.derive("body", DAY, ORG),
        lambda: sealer.open("body", DAY, ORG, [], sealed[DAY]),
        lambda: sealer.seal("body", DAY, ORG, [], b"more"),
    ]
    for use in uses:
        with pytest.raises(SecretDestroyed):
            use()
    assert DAY not in str([*keyring._derived, *sealer._ciphers])
    assert sealer.open("body", "2026-11-23", ORG, [], sealed["2026-11-23"]) == b"plain"


def test_a_key_whose_secret_goes_while_it_is_derived_is_not_kept(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(**how: Any) -> HKDF:
        keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
        return HKDF(**how)

    monkeypatch.setattr("textkeep.archive.keyring.HKDF", slow)
    with pytest.raises(SecretDestroyed):
        keyring.derive("body", DAY, ORG)
    assert keyring._derived == {}


def test_a_cipher_whose_secret_goes_while_it_is_made_is_not_kept(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(key: bytes) -> AESGCM:
        keyring.destroy(shelf_secret(DAY), entry="1", now=NOW)
        return AESGCM(key)

    sealer = Sealer(keyring)
    monkeypatch.setattr("textkeep.archive.sealing.AESGCM", slow)
    with pytest.raises(SecretDestroyed):
        sealer.seal("body", DAY, ORG, [], b"plain")
    assert sealer._ciphers == {}


def test_no_thread_derives_or_keeps_a_key_once_its_secret_is_destroyed(keeping: Keeping) -> None:
    keyring = keeping.opened()
    sealer = Sealer(keyring)
    for number in range(20):
        day = f"day-{number}"
        keyring.make([shelf_secret(day)])
        stop = threading.Event()
        late: list[str] = []

        def use(day: str = day, stop: threading.Event = stop, late: list[str] = late) -> None:
            while True:
                over = stop.is_set()
                try:
                    sealer.seal("body", day, HOUSE, [], b"")
                except SecretDestroyed:
                    return
                if over:
                    late.append(day)

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        keyring.destroy(shelf_secret(day), entry="1", now=NOW)
        stop.set()
        for thread in threads:
            thread.join()
        assert late == []
        assert day not in str([*keyring._derived, *sealer._ciphers])


def test_no_ring_is_a_refusal_unless_a_new_one_may_be_made(keeping: Keeping) -> None:
    with pytest.raises(Unsound) as caught:
        keeping.opened(create=False)
    assert "Restore" in caught.value.remedy
    assert keeping.store().read("ring") is None
    assert keeping.opened().names() == {"house"}


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "above" / "keyring"
        keyring = Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=True)
        keyring.make(["shelf:a"])
        keyring.destroy("shelf:a", entry="1", now=NOW)
    finally:
        os.umask(before)
    found = {path: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert [mode for path, mode in found.items() if path.is_file()] == [0o600, 0o600]


def test_what_the_ring_says_of_itself_in_the_open_names_no_secret(keyring: Keyring, keeping: Keeping) -> None:
    status = keyring.status()
    assert (status.secrets, status.tombstones, status.root_kind) == (4, 0, "local")
    on_disk = b"".join(path.read_bytes() for path in keeping.roots.iterdir()) + keeping.document()
    secrets = keeping.secrets()
    assert not any(secret in on_disk or secret.hex().encode() in on_disk for secret in secrets.values())
    shown = f"{keyring!r}{keyring.status()!r}{keyring.tombstones()!r}"
    assert not any(secret.hex() in shown or repr(secret) in shown for secret in secrets.values())


def test_generations_count_every_change(keyring: Keyring) -> None:
    before = keyring.status().generation
    keyring.make(["shelf:a"])
    keyring.make(["shelf:a"])
    keyring.destroy("shelf:a", entry="1", now=NOW)
    assert keyring.status().generation == before + 2
