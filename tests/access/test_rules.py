"""Who may do what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.access.principal import ACTIONS, LOCAL, ROLES, Action, Principal, Role
from textkeep.access.rules import FILE_ACCESS_ROLES, SCOPED, WHOLE, Allowed, Denied, clash, decide, require
from textkeep.errors import Forbidden

ORG, OTHER = b"\x01" * 8, b"\x02" * 8

POWERS = {
    "producer": "texts.write receipts.read capabilities.read",
    "officer": "texts.search texts.read quarantine.read quarantine.return holds.read holds.place approvals.read"
    " days.read capabilities.read ediscovery.use events.use",
    "counsel": "holds.read holds.place holds.release approvals.read days.read capabilities.read ediscovery.use",
    "approver": "approvals.read approvals.decide holds.read capabilities.read",
    "auditor": "reports.read ledger.read days.read activity.read receipts.read capabilities.read",
    "registrar": "directory.read directory.write capabilities.read",
    "operator": "health.read ledger.change restore.resume approvals.read days.read capabilities.read",
}
"""By role, in the words of docs/roles.md."""

ASKED_FOR: tuple[Action, ...] = ("holds.release", "quarantine.return", "restore.resume", "ledger.change")
"""What two persons do."""


def someone(*roles: Role, orgs: frozenset[bytes] | None = None, local: bool = False) -> Principal:
    return Principal(b"\x09" * 8, LOCAL if local else "t-1", frozenset(roles), orgs)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_exactly_the_powers_written_down_for_it(role: Role) -> None:
    allowed = {action for action in ACTIONS if isinstance(decide(someone(role), action, None), Allowed)}
    assert allowed == set(POWERS[role].split())


@pytest.mark.parametrize("action", ACTIONS)
def test_without_a_role_nothing_is_allowed(action: Action) -> None:
    assert isinstance(decide(someone(), action, None), Denied)


def test_an_action_nobody_wrote_down_is_denied_to_everybody() -> None:
    assert isinstance(decide(someone(*ROLES, local=True), "texts.burn", None), Denied)  # type: ignore[arg-type]


def test_an_auditor_reads_no_texts_and_an_operator_no_data() -> None:
    for role in ("auditor", "operator"):
        for action in ("texts.read", "texts.search", "quarantine.read"):
            assert isinstance(decide(someone(role), action, ORG), Denied)


def test_nobody_who_may_ask_for_what_two_persons_do_may_decide_it_and_the_other_way_round() -> None:
    for role in ROLES:
        asks = [action for action in ASKED_FOR if isinstance(decide(someone(role), action, None), Allowed)]
        decides = isinstance(decide(someone(role), "approvals.decide", None), Allowed)
        assert not (asks and decides)
        assert not asks or clash({role, "approver"})


def test_who_decides_reads_no_text_and_places_no_hold() -> None:
    for action in ("texts.read", "texts.search", "quarantine.read", "holds.place"):
        assert isinstance(decide(someone("approver"), action, ORG), Denied)


def test_file_access_decides_nothing() -> None:
    assert isinstance(decide(someone(*FILE_ACCESS_ROLES, local=True), "approvals.decide", None), Denied)


def test_no_token_runs_a_purge_or_manages_tokens_but_file_access_does() -> None:
    for action in ("purge.run", "tokens.manage"):
        assert isinstance(decide(someone(*ROLES), action, None), Denied)
        assert isinstance(decide(someone(*FILE_ACCESS_ROLES, local=True), action, None), Allowed)


def test_file_access_alone_finds_and_reads_no_text() -> None:
    for action in ("texts.search", "texts.read", "quarantine.read", "activity.read"):
        assert isinstance(decide(someone(*FILE_ACCESS_ROLES, local=True), action, ORG), Denied)


@given(
    roles=st.frozensets(st.sampled_from(ROLES)),
    action=st.sampled_from(ACTIONS),
    orgs=st.none() | st.frozensets(st.sampled_from([ORG, OTHER])),
    org=st.sampled_from([ORG, OTHER]),
)
def test_a_scoped_action_is_allowed_only_inside_the_principals_organisations(
    roles: frozenset[Role], action: Action, orgs: frozenset[bytes] | None, org: bytes
) -> None:
    principal = someone(*roles, orgs=orgs)
    verdict = decide(principal, action, org)
    if isinstance(verdict, Allowed):
        assert isinstance(decide(principal, action, None), Allowed)
        assert action not in SCOPED or orgs is None or org in orgs


@pytest.mark.parametrize("action", ["ledger.change", "restore.resume"])
def test_what_changes_the_whole_house_takes_somebody_of_every_organisation(action: Action) -> None:
    assert action in WHOLE
    for org in (None, ORG):
        verdict = decide(someone("operator", orgs=frozenset({ORG})), action, org)
        assert isinstance(verdict, Denied)
        assert verdict.why == "organisation"
        assert isinstance(decide(someone("operator"), action, org), Allowed)


@given(
    one=st.frozensets(st.sampled_from(ROLES)), more=st.frozensets(st.sampled_from(ROLES)), org=st.sampled_from([ORG])
)
def test_another_role_never_takes_a_power_away(one: frozenset[Role], more: frozenset[Role], org: bytes) -> None:
    for action in ACTIONS:
        if isinstance(decide(someone(*one), action, org), Allowed):
            assert isinstance(decide(someone(*one, *more), action, org), Allowed)


def test_require_says_why_not_without_naming_the_organisation() -> None:
    with pytest.raises(Forbidden) as refused:
        require(someone("officer", orgs=frozenset({OTHER})), "texts.read", ORG)
    assert refused.value.detail == "the organisation is not among the token's"
    require(someone("officer", orgs=frozenset({ORG})), "texts.read", ORG)


@pytest.mark.parametrize("other", ["officer", "counsel", "operator"])
def test_an_approver_is_never_also_one_who_asks_or_looks(other: Role) -> None:
    assert clash({"approver", other}) == ("approver", other)
    assert clash({other, "auditor", "registrar", "producer"}) is None
    assert clash({"approver", "auditor", "registrar", "producer"}) is None
