"""What must be true at the end of an archive's life: one line of checkpoints, and one true report of each shelf."""

from collections.abc import Iterable

from tests.retention.purging import Purging, lines_of
from textkeep.archive.shelf import Day
from textkeep.ledger import log, tree
from textkeep.store.engine import Store


def check_log(store: Store, signed: Iterable[tuple[int, str]]) -> None:
    """Every checkpoint that was ever signed, by size and root, is one of the log as it is now."""
    with store.reading() as connection:
        entries = sorted(log.entries(connection), key=lambda each: each.index or 0)
        hashes = [tree.leaf_hash(log.canonical(connection, each.seq) or b"") for each in entries]
    for size, root in signed:
        assert tree.root(hashes[:size]).hex() == root, "the log was forked"


def check_reports(purging: Purging, days: Iterable[Day]) -> None:
    """Each of these days, and each shelf that went, has one report, which finds nothing wrong and adds up."""
    written = [entry.body["name"] for entry in purging.entries("purge")]
    assert len(written) == len(set(written)), "a shelf has two reports"
    assert {day.shelf for day in days} <= set(written)
    for name in written:
        report = purging.report(name)
        totals = report["totals"]
        lines = {**lines_of(report, "steps"), **lines_of(report, "readback")}
        assert report["verdict"] == "pass", (name, lines)
        assert totals["taken"] == totals["kept"] + totals["destroyed"], name
