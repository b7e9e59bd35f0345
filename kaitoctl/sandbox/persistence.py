"""A store in one SQLite file: survives a restart and `kill -9`.

Every request's writes are one transaction, made before the request is answered; the operating system
keeps what was written when the process dies (`synchronous=OFF` risks it only when the machine itself does).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Object
from kaitoctl.sandbox.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT, namespace TEXT, name TEXT, json BLOB, PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER);
"""
_FORMAT = 1


class Database:
    """The file that a store is kept in.

    Raises:
        InputError: the file is something else, in use, or from a newer kaitoctl.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Exclusive: a second server on the same file would hand out the same versions again.
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=0.5, check_same_thread=False
            )
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found > _FORMAT:
                raise InputError(f"{path} was written by a newer kaitoctl", hint="use another state folder")
            self._connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={_FORMAT};COMMIT")
        except sqlite3.Error as error:
            raise InputError(
                f"the sandbox's state {path} cannot be used: {error}",
                hint="is another sandbox running on it? Otherwise remove the file to start afresh",
            ) from error

    def load(self, store: Store) -> None:
        """Fill an empty store with what the file holds."""
        row = self._connection.execute("SELECT version FROM counter").fetchone()
        if row is not None:
            store.restore(row[0], self._rows())

    def _rows(self) -> Iterator[tuple[str, Object, bytes]]:
        for resource, encoded in self._connection.execute("SELECT resource, json FROM objects"):
            yield resource, json.loads(encoded), encoded

    def save(self, store: Store) -> None:
        """Write what the store has not saved yet, as one transaction."""
        if not store.unsaved:
            return
        execute = self._connection.execute
        execute("BEGIN")
        for (resource, key), entry in store.unsaved.items():
            if entry is None:
                execute(
                    "DELETE FROM objects WHERE resource=? AND namespace=? AND name=?",
                    (resource, key.namespace, key.name),
                )
            else:
                execute(
                    "INSERT OR REPLACE INTO objects VALUES (?,?,?,?)",
                    (resource, key.namespace, key.name, entry.json),
                )
        execute("INSERT OR REPLACE INTO counter VALUES (0, ?)", (store.version,))
        execute("COMMIT")
        store.unsaved.clear()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
