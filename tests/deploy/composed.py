"""`docker-compose.yml`, read: its services by kind, and what each of them is given."""

import os
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.dockerfile import ROOT

FILE: Final = ROOT / "docker-compose.yml"
OWN_IMAGE: Final = "textkeep:"
PROCESSES: Final = ("api", "follow", "keep", "consume")
ONE_SHOTS: Final = ("certs", "migrate", "token", "topic")
ENGINES: Final = ("data", "keyring", "index", "queue")

Service = dict[str, Any]


def composed() -> dict[str, Any]:
    """The file, with every anchor resolved; variables are not."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def services() -> dict[str, Service]:
    """Every service by name."""
    found: dict[str, Service] = composed()["services"]
    return found


def own() -> dict[str, Service]:
    """The services that open the archive: of Textkeep's own image, with its settings."""
    return {
        name: service
        for name, service in services().items()
        if service["image"].startswith(OWN_IMAGE) and settings_of(service)
    }


def commands() -> dict[str, list[str]]:
    """What follows `textkeep` in each service that runs a command of it."""
    return {name: service["command"] for name, service in own().items() if "entrypoint" not in service}


def settings_of(service: Service) -> dict[str, str]:
    """The TEXTKEEP_* variables of a service."""
    return {name: str(value) for name, value in service.get("environment", {}).items() if name.startswith("TEXTKEEP_")}


def mounted(service: Service) -> dict[str, tuple[str, bool]]:
    """What lies at each path inside: a volume or a file of the host, and whether it may be written to."""
    found = {}
    for mount in service.get("volumes", []):
        source, target, *mode = mount.split(":")
        found[target] = (source, mode != ["ro"])
    return found


def environment_free_of(*prefixes: str) -> dict[str, str]:
    """This process's environment, without what begins like that."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def host_file(source: str) -> Path:
    """The file of the tree that a mount names."""
    return ROOT / source
