"""Searching a million texts over 398 days on PostgreSQL and OpenSearch, beside the bare query on the same indices.

The bare query knows the tokens of every day beforehand, asks all days' indices at once for the newest places, and is
done: nothing is parsed, keyed, opened, decided or put on record.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench import bare, feeds
from bench.archives import REASON, Ours
from bench.engines import engines
from bench.many import Many, shelves
from bench.searching import chosen_words, timed
from bench.table import Row, median
from textkeep.search.index import Term
from textkeep.search.narrowing import narrow
from textkeep.search.query import parse
from textkeep.search.tokens import Tokens

TEXTS = int(os.environ.get("BENCH_TEXTS", "1000000"))
RUNS = 3
LIMIT = 50
RECENT = 30


def run(folder: Path) -> Iterator[Row]:
    """Milliseconds a search: rare and common words, 30 days and all."""
    lines = feeds.texts(TEXTS)
    rare, common = chosen_words(lines)
    with engines(folder) as there:
        many = Many(there, folder, "finding")
        took = many.load(lines)
        print(f"  {TEXTS:,} texts over 398 days loaded in {took:,.0f} s", flush=True)
        client = bare.client(there.opensearch.address)
        days = shelves(many.settings)
        since = (datetime.now(UTC).date() - timedelta(days=RECENT)).isoformat()
        with many.opened() as ours:
            for name, words in (("rare", rare), ("common", common)):
                for reach, some, extra in (
                    ("30 days", [day for day in days if day >= since], f" after:{since}"),
                    ("all days", days, ""),
                ):
                    mine, theirs = [], []
                    for word in words:
                        body = _body(ours, word, some)
                        index = ",".join(f"finding-{day}" for day in some) if extra else "finding-*"
                        asked = partial(_asked, client, index, body)
                        search = partial(_found, ours, word + extra)
                        if min(asked(), LIMIT) != len(search()):
                            raise RuntimeError("the bare query finds another number of texts")
                        for _ in range(RUNS):
                            mine.append(1000 * timed(search))
                            theirs.append(1000 * timed(asked))
                    yield Row(f"search, {name} words, {reach}", "ms", median(mine), median(theirs), False, 2)
        for kind, resident in many.resident.items():
            yield Row(f"  memory of `{kind}` after loading, beside its bound", "MB", resident, 400, False, 1)


def _body(ours: Ours, word: str, days: Sequence[str]) -> dict[str, object]:
    tokens, query = Tokens(ours.archive.keyring), parse(word)
    plans = [narrow(query, tokens.of(day, ours.org()), lambda _: None) for day in days]
    return {
        "size": LIMIT,
        "track_total_hits": False,
        "_source": False,
        "stored_fields": "_none_",
        "query": {"bool": {"filter": [{"terms": {"terms": [plan.term for plan in plans if isinstance(plan, Term)]}}]}},
        "sort": [{"at": "desc"}, {"text": "desc"}],
    }


def _asked(client: object, index: str, body: dict[str, object]) -> int:
    return len(client.search(index=index, body=body)["hits"]["hits"])  # type: ignore[attr-defined]


def _found(ours: Ours, query: str) -> tuple[object, ...]:
    return ours.archive.finder.find(ours.officer, query, reason=REASON, org=ours.org(), limit=LIMIT).results
