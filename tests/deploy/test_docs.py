"""docs/deploy.md and the alert rules name what there is, and all of it."""

import re
from pathlib import Path

import yaml

from tests.deploy.composed import services
from tests.deploy.dockerfile import ROOT
from textkeep.service.settings import Settings

TEXT = (ROOT / "docs" / "deploy.md").read_text()
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]


def test_every_setting_is_in_the_table_and_no_other() -> None:
    told = set(re.findall(r"`TEXTKEEP_([A-Z_]+)`", TEXT.partition("## Settings")[2]))
    assert told - {"X", "X_FILE"} == {field.upper() for field in Settings.model_fields}


def test_every_service_is_explained() -> None:
    rows = TEXT.partition("| service |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+)`", rows)) - {"up"} == set(services())


def test_every_rule_is_in_the_table_and_asks_for_figures_that_there_are() -> None:
    rules = [rule for group in RULES for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == set(re.findall(r"`(Textkeep[A-Za-z]+)`", TEXT))
    source = "".join(path.read_text() for path in (ROOT / "textkeep").rglob("*.py"))
    for rule in rules:
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        for figure in re.findall(r"textkeep_[a-z_]+", rule["expr"]):
            assert f'"{figure.removesuffix("_total")}"' in source, f"{rule['alert']}: {figure}"


def test_every_refusal_that_is_quoted_is_one_that_textkeep_makes() -> None:
    source = " ".join("".join(path.read_text() for path in (ROOT / "textkeep").rglob("*.py")).split())
    table = TEXT.partition("## Restoring")[2].partition("## Upgrading")[0]
    quoted = [" ".join(words.split()) for words in re.findall(r"`((?:the|there|an) [^`]+)`", table)]
    assert len(quoted) >= 7
    for words in quoted:
        pattern = re.escape(words).replace("DAY", r"\{[a-z.]+\}").replace("open$", r"\{[a-z.]+\}")
        pattern = re.sub(r"calls\\ it\\ open", r"calls\\ it\\ \\{[a-z.]+\\}", pattern)
        assert re.search(pattern, source), words


def test_every_file_of_the_deployment_is_listed() -> None:
    listed = (ROOT / "deploy" / "README.md").read_text()
    for path in (ROOT / "deploy").iterdir():
        if path.name not in ("README.md", "secrets"):
            assert any(name in listed for name in (f"`{path.name}/`", f"`{path.name}`", f"`{path.name}/")), path.name
    for path in (ROOT / "deploy" / "image").glob("*.*"):
        assert f"`image/{path.name}`" in listed, path.name


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / Path(target)).exists(), target
