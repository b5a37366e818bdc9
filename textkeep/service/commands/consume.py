"""`textkeep consume`: what lies in a topic into the archive, as one of any number of processes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textkeep.errors import Unsound
from textkeep.service.commands.output import FAILED, DataOption, JsonOption, print_facts, print_json, reported
from textkeep.service.commands.serving import MetricsOption, greet, serving
from textkeep.service.settings import Settings

if TYPE_CHECKING:
    from textkeep.ingest.kafka import Consumer


@reported
def consume(
    group: Annotated[
        str | None, typer.Option("--group", help="The consumer group. Default: TEXTKEEP_KAFKA_GROUP, else textkeep.")
    ] = None,
    max_records: Annotated[
        int | None, typer.Option("--max-records", min=1, help="End when so many messages are stored.")
    ] = None,
    topic_keeps_readable_texts_longer: Annotated[
        bool,
        typer.Option(
            "--topic-keeps-readable-texts-longer",
            help="Read a topic that keeps readable texts for more than 7 days. Dangerous.",
        ),
    ] = False,
    go_on_without_deleted_records: Annotated[
        bool,
        typer.Option(
            "--go-on-without-deleted-records",
            help="Read on where the topic has deleted records that were never archived. They are lost.",
        ),
    ] = False,
    metrics: MetricsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Archive what a topic holds, as one of any number of processes. SIGTERM ends it, and the batch in hand is kept."""
    # Only whoever opens the archive pays for loading all of it.
    try:
        from textkeep.service.consuming import join, reading_of
    except ModuleNotFoundError as missing:
        raise _not_installed() from missing
    from textkeep.service.waiting import patiently

    reading = reading_of(Settings.load(Path(data) if data else None))
    reading = replace(
        reading,
        group=group or reading.group,
        most=max_records,
        keeps_longer=topic_keeps_readable_texts_longer,
        go_on=go_on_without_deleted_records,
    )
    with serving("consume", data, metrics) as served:
        consumer = patiently(lambda: join(served.archive, reading), served.stop.wait)
        try:
            served.archive.start()
            greet(served, as_json=as_json)
            consumer.run(served.stop)
        finally:
            consumer.close()
    _tell(consumer, as_json=as_json)
    if consumer.gaps:
        raise typer.Exit(FAILED)


def _not_installed() -> Unsound:
    return Unsound("the Kafka client is not installed; nothing was started", remedy="Install textkeep[kafka].")


def _tell(consumer: "Consumer", *, as_json: bool) -> None:
    """The totals of this process."""
    told: dict[str, Any] = {
        "messages": consumer.messages,
        **consumer.counts,
        "overtaken": consumer.overtaken,
        "unread": consumer.unread,
    }
    if as_json:
        print_json({**told, "stopped": sorted(consumer.gaps)})
        return
    print_facts({name: f"{count:,}" for name, count in told.items()})
    for partition in sorted(consumer.gaps):
        print_facts({"stopped": f"partition {partition}: records were deleted before they were read; see the log"})
