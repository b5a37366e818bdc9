"""Which numbers are domestic, which are not, and which cannot be one."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.directory.numbers import ABROAD, is_own, kind_of

HOME = {"US", "CA", "PR", "VI", "GU", "MP", "AS"}


def test_every_area_code_in_service_is_where_the_numbering_plan_says(shared: Path) -> None:
    with (shared / "data" / "numbers" / "npa_geo_iso.csv").open(newline="") as file:
        rows = {row["npa"]: row["iso_region"] for row in csv.DictReader(file)}
    assert len(rows) > 400
    wrong = {
        npa
        for npa, region in rows.items()
        if kind_of(f"+1{npa}5550100") != ("domestic" if region in HOME else "international")
    }
    assert wrong == set()
    assert {npa: region for npa, region in rows.items() if region not in HOME} == ABROAD


@pytest.mark.parametrize("code", ["787", "939", "340", "671", "670", "684"])
def test_the_territories_count_as_the_united_states(code: str) -> None:
    assert kind_of(f"+1{code}5550100") == "domestic"


@pytest.mark.parametrize("code", ["800", "833", "844", "855", "866", "877", "888"])
def test_toll_free_numbers_are_domestic(code: str) -> None:
    assert kind_of(f"+1{code}5550100") == "domestic"


@pytest.mark.parametrize("number", ["+18765550123", "+12425550123", "+447700900123", "+48600000000", "+33639980000"])
def test_other_countries_are_international(number: str) -> None:
    assert kind_of(number) == "international"


@pytest.mark.parametrize("number", ["12345", "262966"])
def test_short_codes_of_five_or_six_digits_are_domestic_and_nobodys_own(number: str) -> None:
    assert kind_of(number) == "domestic"
    assert not is_own(number)


@pytest.mark.parametrize(
    "number",
    [
        *("", "+", "+1", "1234", "1234567", "12125550100", "2125550100", "+1212555010", "+121255501000"),
        *("+10125550100", "+12120550100", "+12115550100", "+12915550100", "+1 212 555 0100", "+1(212)5550100"),
        *("+4477", "+999123456789", "+12345678901234567", "tel:+12125550100", "AMAZON", "+1212555010a"),
        *("+1212555010٠", "١٢٣٤٥", "+44７700900123"),  # digits of other scripts
    ],
)
def test_what_no_telephone_can_have_is_none(number: str) -> None:
    assert kind_of(number) is None
    assert not is_own(number)


@given(st.text(max_size=20) | st.from_regex(r"\+?[0-9]{0,17}", fullmatch=True))
def test_any_string_gets_an_answer(number: str) -> None:
    assert kind_of(number) in ("domestic", "international", None)
