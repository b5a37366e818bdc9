"""A record comes back from quarantine in a whole archive: two people over HTTP, and then it is found."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.housing import event
from textkeep.service.running import Running

Headers = dict[str, dict[str, str]]

DIRECTORY: list[dict[str, Any]] = [
    {"kind": "org", "org_id": "org-777", "customer_type": "enterprise", "calling_plan": "US", "add_on": True,
     "campaign_registered": True, "healthcare": False},
    {"kind": "location", "org_id": "org-777", "location_id": "l-1", "country": "US", "pstn": "cisco", "texting": True},
    {"kind": "user", "org_id": "org-777", "user_id": "u-1", "location_id": "l-1", "number": "+12125550101",
     "texting": "default", "app_version": "44.6"},
]  # fmt: skip


def test_a_record_of_an_organisation_registered_too_late_becomes_a_text_that_is_found(
    running: Running, http: httpx.Client, tokens: Headers
) -> None:
    http.timeout = httpx.Timeout(60)
    sent = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    record = event(1, org_id="org-777", user_id="u-1", sent_at=sent, body="a heron comes back")
    kind = {"Content-Type": "application/cloudevents+json"}
    receipt = http.post("/v1/texts", content=json.dumps(record), headers=tokens["producer"] | kind).json()
    assert receipt["quarantined"] == 1
    lines = "".join(json.dumps(each) + "\n" for each in DIRECTORY)
    stream = {"Content-Type": "application/x-ndjson"}
    assert http.post("/v1/directory", content=lines, headers=tokens["registrar"] | stream).is_success
    why = tokens["officer"] | {"Textkeep-Reason": "a test"}
    items = http.get("/v1/quarantine", headers=why).json()["items"]
    [entry] = [each for each in items if each["batch_id"] == receipt["batch_id"]]
    where = f"/v1/quarantine/{entry['shelf']}/{entry['paper_id']}/return"
    asked = http.post(where, json={"reason": "registered after all"}, headers=tokens["officer"]).json()
    decision = {"outcome": "approved", "digest": asked["digest"]}
    done = http.post(f"/v1/approvals/{asked['id']}", json=decision, headers=tokens["approver"]).json()
    assert done["effect"]["receipt"]["accepted"] == 1
    while running.archive.follower.step():
        pass
    wanted = {"query": "heron", "reason": "a test", "org_id": "org-777"}
    found = http.post("/v1/searches", json=wanted, headers=tokens["officer"]).json()["results"]
    assert [text["text_id"] for text in found] == [done["effect"]["text_id"]]
    assert http.get("/v1/quarantine", headers=why).json()["items"] == [each for each in items if each != entry]
