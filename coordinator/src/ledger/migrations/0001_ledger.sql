-- Runs, in the order they were submitted.
CREATE TABLE runs (
    run           INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id        TEXT    NOT NULL UNIQUE,
    plan          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    fingerprint   TEXT
) STRICT;

-- Shards that were ever leased: the fence, and the part once it is committed.
CREATE TABLE shards (
    run        INTEGER NOT NULL REFERENCES runs (run),
    shard      INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    part_key   TEXT,
    part_bytes INTEGER,
    part_hash  BLOB,
    tally      TEXT,
    PRIMARY KEY (run, shard)
) STRICT, WITHOUT ROWID;
