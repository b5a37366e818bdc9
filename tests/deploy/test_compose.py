"""`docker-compose.yml` keeps what docs/deploy.md says of it. No engine of Docker is needed to see that."""

import json
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.deploy.composed import (
    ENGINES,
    FILE,
    ONE_SHOTS,
    PROCESSES,
    commands,
    composed,
    environment_free_of,
    mounted,
    own,
    services,
    settings_of,
)
from tests.deploy.dockerfile import ROOT
from textkeep.service.settings import Settings, check_names

LONGEST_TOPIC = timedelta(days=7)
TEXTKEEP = Path(sys.executable).parent / "textkeep"


def test_it_is_of_the_form_that_the_specification_asks_for() -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_docker_itself_can_read_it(tmp_path: Path) -> None:
    """Needs Docker's compose plugin and no engine. Not one of the engines that --require-engines asks for: the form
    is checked above without it, and this machine's packages may have none."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin here: `docker compose config` was not tried")
    command = [docker, "compose", "--file", str(FILE), "config", "--quiet"]
    read = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert read.returncode == 0, read.stderr


def test_the_whole_archive_is_there() -> None:
    assert set(services()) == {*PROCESSES, *ONE_SHOTS, *ENGINES}
    assert services()["data"]["image"] == services()["keyring"]["image"]
    assert services()["data"]["image"].startswith("postgres:18.")
    assert services()["index"]["image"].startswith("opensearchproject/opensearch:3.")
    assert services()["queue"]["image"].startswith("apache/kafka:4.1.")


def test_every_image_is_of_one_full_version() -> None:
    for name, service in services().items():
        tag = service["image"].rpartition(":")[2]
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-[a-z]+)?", tag), name


def test_only_the_api_has_a_port_and_that_on_loopback_with_tls() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["api"]
    assert services()["api"]["ports"] == ["${API_BIND:-127.0.0.1}:8400:8400"]
    assert {"--tls-cert", "--tls-key"} <= set(services()["api"]["command"])
    assert "--insecure-public-http" not in FILE.read_text()
    assert not [name for name, service in services().items() if service.get("network_mode") == "host"]


def test_only_the_api_is_on_a_network_that_leads_out() -> None:
    out = {name for name, network in composed()["networks"].items() if not (network or {}).get("internal")}
    assert out == {"front"}
    assert [name for name, service in services().items() if out & set(service.get("networks", []))] == ["api"]


def test_the_keyring_and_the_data_are_neither_one_server_nor_one_network_nor_one_volume() -> None:
    data, keyring = services()["data"], services()["keyring"]
    assert not set(data["networks"]) & set(keyring["networks"])
    assert not set(data["secrets"]) & set(keyring["secrets"])
    volumes = [{source for source, _ in mounted(service).values()} for service in (data, keyring)]
    assert not volumes[0] & volumes[1]


def test_what_goes_on_is_restarted_and_looked_after_and_what_ends_is_waited_for() -> None:
    for name in (*PROCESSES, *ENGINES):
        service = services()[name]
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert {"interval", "timeout", "retries", "start_period"} <= service["healthcheck"].keys(), name
    for name in ONE_SHOTS:
        assert services()[name]["restart"] == "no", name
        conditions = [each.get("depends_on", {}).get(name, {}).get("condition") for each in services().values()]
        assert "service_completed_successfully" in conditions, name


def test_every_process_waits_for_the_tables_and_the_consumer_for_its_topic() -> None:
    for name in PROCESSES:
        after = services()[name]["depends_on"]
        assert after["migrate"]["condition"] == after["token"]["condition"] == "service_completed_successfully"
        assert {each for each, how in after.items() if how["condition"] == "service_healthy"} >= {"data", "keyring"}
    assert services()["consume"]["depends_on"]["topic"]["condition"] == "service_completed_successfully"


def test_nobody_has_more_rights_than_are_needed() -> None:
    for name, service in services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("cap_add", []) == (["CHOWN"] if name == "certs" else []), name
        assert not service.get("privileged"), name
        assert service["ulimits"]["core"] == 0, name
        assert service["read_only"] is (name != "index"), name
        assert service.get("user", "1").split(":")[0] != "0" or name == "certs", name
    assert services()["certs"]["network_mode"] == "none", "the one that runs as root reaches nobody"


def test_every_service_has_its_limits_and_none_is_swapped_out() -> None:
    for name, service in services().items():
        assert {"mem_limit", "cpus", "pids_limit"} <= service.keys(), name
        assert service["memswap_limit"] == service["mem_limit"], name
    assert all(services()[name]["mem_limit"] == "512m" for name in PROCESSES)


def test_every_secret_is_a_file_that_one_script_makes(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    subprocess.run([ROOT / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True)
    declared = composed()["secrets"]
    assert {each["file"] for each in declared.values()} == {
        f"./deploy/secrets/{path.name}" for path in folder.iterdir()
    }
    assert {name for service in services().values() for name in service.get("secrets", [])} == declared.keys()
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().split()


def test_no_password_stands_in_the_file() -> None:
    text = FILE.read_text()
    assert not re.search(r"://[^\s/@:]+:[^\s/@]+@", text), "an address with a password"
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"(PASSWORD|SECRET|TOKEN|_KEY|_URL)$", variable):
                assert variable in ("TEXTKEEP_ROOT_KEY", "TEXTKEEP_KAFKA_KEY", "HEALTH_URL"), f"{name}: {variable}"
            if variable.endswith("_FILE") and variable != "TEXTKEEP_TOKEN_FILE":
                folder, _, secret = str(value).rpartition("/")
                assert folder == "/run/secrets", f"{name}: {variable}"
                assert secret in service["secrets"], f"{name}: {variable}"


def test_each_service_is_given_the_secrets_it_uses_and_no_other() -> None:
    for name, service in own().items():
        files = [value for key, value in settings_of(service).items() if key.endswith("_FILE")]
        used = {value.rpartition("/")[2] for value in files if value.startswith("/run/secrets/")}
        assert used == set(service["secrets"]), name
    for owner in ("data-owner-url", "keyring-owner-url"):
        holders = {name for name, service in services().items() if owner in service.get("secrets", [])}
        assert holders == {"migrate"}, "only who makes tables may own them"


def test_the_consumers_token_is_written_by_one_and_read_by_one() -> None:
    holders = {name: mounted(service) for name, service in services().items()}
    found = {name: mount for name, at in holders.items() for mount in at.values() if mount[0] == "consumer"}
    assert found == {"token": ("consumer", True), "consume": ("consumer", False)}
    assert [settings_of(services()["consume"])["TEXTKEEP_TOKEN_FILE"]] == services()["token"]["command"]


def test_root_keys_are_written_by_two_and_reach_neither_engine_nor_backup_volume() -> None:
    holders = {name: mounted(service) for name, service in services().items()}
    with_roots = {name: found for name, found in holders.items() if any(s == "roots" for s, _ in found.values())}
    assert set(with_roots) == {*PROCESSES, "token"}
    writers = {name for name, found in with_roots.items() if ("roots", True) in found.values()}
    assert writers == {"keep", "token"}, "who destroys them, and who makes the first"
    for name, found in with_roots.items():
        path = next(target for target, (source, _) in found.items() if source == "roots")
        assert settings_of(services()[name])["TEXTKEEP_ROOT_KEY"] == f"file://{path}"


def test_every_setting_is_one_that_textkeep_knows() -> None:
    for name, service in own().items():
        check_names(settings_of(service))
        fields = {key.removeprefix("TEXTKEEP_").removesuffix("_FILE").lower() for key in settings_of(service)}
        assert fields <= Settings.model_fields.keys(), name
        assert {"database_url", "keyring_url"} <= fields, name
        assert {"index_url", "root_key"} <= fields or name == "migrate", name


def test_every_command_is_one_that_textkeep_has_with_those_options() -> None:
    assert set(commands()) == {*PROCESSES, "migrate"}
    for name, (command, *options) in commands().items():
        environment = environment_free_of("TEXTKEEP_") | {"COLUMNS": "300"}
        told = subprocess.run(
            [TEXTKEEP, command, "--help"], capture_output=True, text=True, check=False, env=environment
        )
        assert told.returncode == 0, f"{name}: {told.stderr}"
        for option in [word for word in options if word.startswith("--")]:
            assert re.search(rf"{option}\b", told.stdout), f"{name}: {option}"


def test_every_file_and_script_that_is_mounted_is_there() -> None:
    volumes = composed()["volumes"]
    for name, service in services().items():
        for source, _ in mounted(service).values():
            assert source in volumes or (source.startswith("./") and (ROOT / source).exists()), f"{name}: {source}"
    for script in [*(ROOT / "deploy").rglob("*.sh")]:
        read = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert read.returncode == 0, read.stderr
        assert script.read_text().splitlines()[0].startswith("#!/bin/"), script.name


def test_every_certificate_that_is_used_is_made() -> None:
    made = {target for target in mounted(services()["certs"]) if target.startswith("/certs/")}
    used = {target for service in services().values() for target in mounted(service) if target.startswith("/certs/")}
    assert used == made
    text = json.dumps(services()) + "".join(p.read_text() for p in (ROOT / "deploy" / "kafka").iterdir())
    assert {path.rpartition("/")[0] for path in re.findall(r"/certs/[a-z]+/[a-z]+\.pem", text)} <= made


def test_the_readable_topic_keeps_its_records_for_days_not_weeks() -> None:
    broker = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "kafka" / "server.properties").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert timedelta(hours=int(broker["log.retention.hours"])) <= LONGEST_TOPIC
    assert broker["log.cleanup.policy"] == "delete"
    assert int(broker["log.roll.hours"]) <= 24, "a segment that is written to is never deleted"
    assert broker["auto.create.topics.enable"] == "false"
    assert broker["allow.everyone.if.no.acl.found"] == "false"
    script = (ROOT / "deploy" / "kafka" / "topic.sh").read_text()
    day = int(re.findall(r"^day=(\d+)$", script, re.MULTILINE)[0])
    assert timedelta(milliseconds=day) <= LONGEST_TOPIC
    assert "retention.ms=$day" in script
    assert services()["topic"]["command"][-1] == settings_of(services()["consume"])["TEXTKEEP_KAFKA_TOPIC"]


def test_the_databases_take_nobody_over_the_network_without_tls() -> None:
    for name in ("data", "keyring"):
        rules = [
            line.split()
            for line in (ROOT / "deploy" / "postgres" / f"{name}.conf").read_text().splitlines()
            if line and not line.startswith("#")
        ]
        assert {rule[0] for rule in rules} == {"local", "hostssl"}
        assert all(rule[-1] == "scram-sha-256" for rule in rules if rule[0] == "hostssl")
        assert all(rule[-1] == "peer" for rule in rules if rule[0] == "local")
        assert "ssl=on" in services()[name]["command"]
