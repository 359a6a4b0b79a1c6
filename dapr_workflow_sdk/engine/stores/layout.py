"""How the engine's SQLite file is laid out, and how files of earlier versions are brought there."""

from __future__ import annotations

import sqlite3

# How SQLite files say whose they are: "dwfs".
APPLICATION = 0x64776673
VERSION = 2

# Instances have numbers, so that what belongs to one is found without its text id, and new instances are written to
# the end of each table and not all over it.
_TABLES = """
CREATE TABLE instances (
  number INTEGER PRIMARY KEY, app_id TEXT NOT NULL, instance_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT,
  execution_id TEXT NOT NULL, generation INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  started INTEGER, completed INTEGER, scheduled INTEGER, ended INTEGER, suspended INTEGER NOT NULL, stalled INTEGER,
  stalled_because TEXT, input TEXT, output TEXT, custom_status TEXT, failure BLOB, parent BLOB, propagated BLOB,
  UNIQUE (app_id, instance_id)
);
CREATE INDEX instances_ended ON instances (app_id, ended, completed) WHERE ended IS NOT NULL;
CREATE TABLE history (
  instance INTEGER NOT NULL, position INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (instance, position)
) WITHOUT ROWID;
CREATE TABLE inbox (
  instance INTEGER NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (instance, number)
) WITHOUT ROWID;
CREATE TABLE tasks (
  instance INTEGER NOT NULL, generation INTEGER NOT NULL, task_id INTEGER NOT NULL, request BLOB NOT NULL,
  PRIMARY KEY (instance, generation, task_id)
) WITHOUT ROWID;
CREATE TABLE timers (
  instance INTEGER NOT NULL, timer_id INTEGER NOT NULL, fire_at INTEGER NOT NULL, PRIMARY KEY (instance, timer_id)
) WITHOUT ROWID;
CREATE INDEX timers_due ON timers (fire_at);
"""

_FROM_1 = """
ALTER TABLE instances RENAME TO old_instances;
ALTER TABLE history RENAME TO old_history;
ALTER TABLE inbox RENAME TO old_inbox;
ALTER TABLE tasks RENAME TO old_tasks;
ALTER TABLE timers RENAME TO old_timers;
{tables}
INSERT INTO instances (
  app_id, instance_id, name, execution_id, generation, created, updated, started, completed, scheduled, ended,
  suspended, input, output, custom_status, failure, parent
) SELECT
  :app_id, instance_id, name, execution_id, generation, created, updated, started, completed, scheduled, ended,
  suspended, input, output, custom_status, failure, parent
FROM old_instances ORDER BY created;
INSERT INTO history SELECT n.number, o.position, o.event FROM old_history o JOIN instances n USING (instance_id);
INSERT INTO inbox SELECT n.number, o.number, o.event FROM old_inbox o JOIN instances n USING (instance_id);
INSERT INTO tasks
  SELECT n.number, o.generation, o.task_id, o.request FROM old_tasks o JOIN instances n USING (instance_id);
INSERT INTO timers SELECT n.number, o.timer_id, o.fire_at FROM old_timers o JOIN instances n USING (instance_id);
INSERT INTO timers SELECT number, -1, scheduled FROM instances WHERE scheduled IS NOT NULL AND started IS NULL;
DROP TABLE old_instances;
DROP TABLE old_history;
DROP TABLE old_inbox;
DROP TABLE old_tasks;
DROP TABLE old_timers;
"""


def lay_out(connection: sqlite3.Connection, version: int, app_id: str) -> None:
    """Makes the tables, or brings those of an earlier version up to this one, all or nothing.

    Args:
        connection: To the file.
        version: What it is now; 0 for a new file.
        app_id: The app that instances belong to which were written before there were several.
    """
    if version == VERSION:
        return
    # In one transaction: an engine that is killed on the way leaves the file as it was.
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        script = _TABLES if version == 0 else _FROM_1.format(tables=_TABLES)
        for statement in script.split(";"):
            connection.execute(statement, {"app_id": app_id} if ":app_id" in statement else {})
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
