-- Runs, in the order they were submitted. Totals and resources: see the columns of the same names in the embedded ledger.
CREATE TABLE runs (
    run            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id         text   NOT NULL UNIQUE,
    plan           text   NOT NULL,
    state          text   NOT NULL,
    source         text   NOT NULL,
    created_at_ms  bigint NOT NULL,
    fingerprint    text,
    committed      bigint,
    tally          text,
    wall_ms        bigint,
    cpu_ms         bigint,
    peak_rss_bytes bigint,
    failure        text
);

-- Shards that were ever leased: the fence, and the part once it is committed. A row is written once and changed once or
-- twice, in columns without an index: with room on its page, the change touches that page alone.
CREATE TABLE shards (
    run        bigint NOT NULL,
    shard      bigint NOT NULL,
    len        bigint NOT NULL,
    token      bigint NOT NULL,
    attempt    bigint NOT NULL,
    lost       bigint NOT NULL,
    worker     text   NOT NULL,
    part_key   text,
    part_bytes bigint,
    part_hash  bytea,
    tally      text,
    PRIMARY KEY (run, shard)
) WITH (fillfactor = 60);
