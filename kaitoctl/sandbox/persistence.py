"""A store in one SQLite file: survives a restart and `kill -9`.

Every request's writes are one transaction, made before the request is answered; the operating system
keeps what was written when the process dies (`synchronous=OFF` risks it only when the machine itself does).
A file that cannot be understood whole is refused: a cluster that starts with half of its objects would let
controllers delete what belongs to the other half.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from kaitoctl.errors import InputError
from kaitoctl.kube.objects import Object, key_of
from kaitoctl.sandbox.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT, namespace TEXT, name TEXT, json BLOB, PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER);
"""
_FORMAT = 1


class NotSaved(Exception):
    """The file does not take a transaction (disk full, read-only, broken); it holds what it held before."""


class Database:
    """The file that a store is kept in.

    Raises:
        InputError: the file is something else, in use, or from a newer kaitoctl.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._insist_on_all_of_it()
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=0.5, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        execute = self._connection.execute
        try:
            # Exclusive: a second server on the same file would hand out the same versions again.
            execute("PRAGMA locking_mode=EXCLUSIVE")
            found = execute("PRAGMA user_version").fetchone()[0]
            if found > _FORMAT:
                raise InputError(
                    f"{self._path} was written by a newer kaitoctl", hint="use another state folder"
                )
            self._insist_on_our_tables(found)
            execute("PRAGMA journal_mode=WAL")
            execute("PRAGMA synchronous=OFF")
            self._connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={_FORMAT};COMMIT")
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except sqlite3.Error as error:
            raise self._damage_error(error) from error

    def _insist_on_all_of_it(self) -> None:
        """Refuse what SQLite would take for a new database, though somebody has lost an old one."""
        log = self._path.with_name(f"{self._path.name}-wal")
        if self._path.exists():
            if self._path.stat().st_size == 0:
                raise self._damage_error(ValueError("the file is empty"))
        elif log.exists() and log.stat().st_size:
            raise self._damage_error(ValueError(f"it is gone, and {log.name} is still there"))

    def _insist_on_our_tables(self, found: int) -> None:
        """Refuse a database that has lost our tables, and one that never had them: it is not ours."""
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        missing = {"objects", "counter"} - tables
        if missing and (tables or found):
            whose = "another program's tables" if tables and not found else "no table " + min(missing)
            raise self._damage_error(ValueError(f"it has {whose}"))

    def load(self, store: Store) -> None:
        """Fill an empty store with what the file holds.

        Raises:
            InputError: that is not all that was once written.
        """
        try:
            objects = list(self._rows())
            version = self._version([obj for _, obj, _ in objects])
            if version is not None:
                store.restore(version, iter(objects))
        except (sqlite3.Error, ValueError, LookupError, TypeError) as error:
            self.close()
            raise self._damage_error(error) from error

    def _rows(self) -> Iterator[tuple[str, Object, bytes]]:
        rows = self._connection.execute("SELECT resource, namespace, name, json FROM objects")
        for resource, namespace, name, encoded in rows:
            obj = json.loads(encoded)
            if key_of(obj) != (namespace, name) or not obj["metadata"]["uid"]:
                raise ValueError(f"{resource} {namespace}/{name} holds another object")
            yield resource, obj, encoded

    def _version(self, objects: Sequence[Object]) -> int | None:
        """The number of the last write; None in a new file."""
        row = self._connection.execute("SELECT version FROM counter").fetchone()
        if row is None and not objects:
            return None
        version = row[0] if row else None
        newest = max((int(obj["metadata"]["resourceVersion"]) for obj in objects), default=None)
        if not isinstance(version, int) or newest is None or newest > version:
            known = "none" if newest is None else f"{len(objects)} up to number {newest}"
            raise ValueError(f"the number of the last write is {version}, the objects are {known}")
        return version

    def _unusable(self, error: Exception) -> InputError:
        return InputError(
            f"the sandbox's state {self._path} cannot be used: {error}",
            hint="is another sandbox running on it? Is the disk full, or the folder read-only?",
        )

    def _damage_error(self, error: Exception) -> InputError:
        words = str(error) if isinstance(error, (sqlite3.Error, ValueError)) else repr(error)
        return InputError(
            f"the sandbox's state {self._path} is damaged: {words}",
            hint="put a copy back, or move it and the files beside it away to start with an empty cluster",
        )

    def save(self, store: Store) -> None:
        """Write what the store has not saved yet, as one transaction.

        Raises:
            NotSaved: nothing of it was written.
        """
        if not store.unsaved:
            return
        try:
            self._connection.execute("BEGIN")
            self._write(store)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):  # some errors have ended the transaction already
                self._connection.execute("ROLLBACK")
            raise NotSaved(f"the sandbox cannot write to {self._path}: {error}") from error
        store.unsaved.clear()

    def _write(self, store: Store) -> None:
        execute = self._connection.execute
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

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
