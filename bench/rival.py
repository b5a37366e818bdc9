"""The rival: plain SQLite that stores the readable text, with an ordinary FTS5 table, and the same durability."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

_SCHEMA = """
CREATE TABLE texts (
    id INTEGER PRIMARY KEY, message_id TEXT NOT NULL, source TEXT NOT NULL, org TEXT, user TEXT, direction TEXT,
    sender TEXT, recipient TEXT, day TEXT, sent_at TEXT, disposition TEXT, reason TEXT, body TEXT,
    UNIQUE (source, message_id)
);
CREATE INDEX texts_day ON texts (day);
CREATE VIRTUAL TABLE words USING fts5(body, content='texts', content_rowid='id');
CREATE TRIGGER texts_in AFTER INSERT ON texts BEGIN INSERT INTO words (rowid, body) VALUES (new.id, new.body); END;
CREATE TRIGGER texts_out AFTER DELETE ON texts
    BEGIN INSERT INTO words (words, rowid, body) VALUES ('delete', old.id, old.body); END;
"""

_INSERT = """
INSERT OR IGNORE INTO texts
    (message_id, source, org, user, direction, sender, recipient, day, sent_at, disposition, reason, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Plain:
    """What one would write in an afternoon, without sealing, without evidence."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA)

    def load(self, batch: Sequence[bytes]) -> None:
        """Store and index one batch, durably."""
        rows = []
        for line in batch:
            event = json.loads(line)
            data = event["data"]
            rows.append(
                (
                    event["id"],
                    event["source"],
                    data["org_id"],
                    data["user_id"],
                    data["direction"],
                    data["from"],
                    data["to"],
                    data["sent_at"][:10],
                    data["sent_at"],
                    data["disposition"],
                    data.get("reason"),
                    data["body"],
                )
            )
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_INSERT, rows)
        self._connection.execute("COMMIT")

    def delete(self, day: str) -> int:
        """Delete a day and everything of it that the index holds; gives how many texts went."""
        self._connection.execute("BEGIN IMMEDIATE")
        gone = self._connection.execute("DELETE FROM texts WHERE day = ?", (day,)).rowcount
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
