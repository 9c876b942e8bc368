-- A shard is named by its first record and says how many it holds, so that it can be split; losses of its workers count.
CREATE TABLE shards_by_record (
    run        INTEGER NOT NULL REFERENCES runs (run),
    shard      INTEGER NOT NULL,
    len        INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    lost       INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    part_key   TEXT,
    part_bytes INTEGER,
    part_hash  BLOB,
    tally      TEXT,
    PRIMARY KEY (run, shard)
) STRICT, WITHOUT ROWID;

INSERT INTO shards_by_record
SELECT run,
       shard * json_extract(plan, '$.shard_size'),
       min(json_extract(plan, '$.shard_size'),
           json_extract(plan, '$.records') - shard * json_extract(plan, '$.shard_size')),
       token, attempt, 0, worker, part_key, part_bytes, part_hash, tally
FROM shards JOIN runs USING (run);

DROP TABLE shards;
ALTER TABLE shards_by_record RENAME TO shards;
