"""`textkeep follow`, `textkeep keep` and `textkeep healthcheck`: parts without an API, and whether one is well."""

from typing import Annotated, Final

import httpx
import typer

from textkeep.errors import Malformed, Outage
from textkeep.service.commands.output import DataOption, JsonOption, note, reported
from textkeep.service.commands.serving import MetricsOption, greet, serving, wait

HEALTH_SECONDS: Final = 5.0


@reported
def follow(metrics: MetricsOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make texts findable, as one of any number of processes on PostgreSQL and OpenSearch."""
    with serving("follow", data, metrics) as served:
        served.archive.start()
        greet(served, as_json=as_json)
        wait(served)


@reported
def keep(metrics: MetricsOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Hold the schedule: purge what is due, open the days ahead, compare index and texts. One works, others wait."""
    with serving("keep", data, metrics) as served:
        served.archive.start()
        greet(served, as_json=as_json)
        wait(served)


@reported
def healthcheck(
    url: Annotated[str, typer.Argument(metavar="URL", help="Like http://127.0.0.1:9400/readyz.")],
) -> None:
    """End with 0 where that address answers that all is well, else with 1 or 3: for containers' health checks."""
    try:
        answer = httpx.get(url, timeout=HEALTH_SECONDS, trust_env=False)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise Malformed("that is no address", field="URL") from None
    except httpx.HTTPError:
        raise Outage("nothing answers there", remedy="Is it started, with --metrics?") from None
    if not answer.is_success:
        note(f"textkeep: it answers {answer.status_code}")
        raise typer.Exit(1)
