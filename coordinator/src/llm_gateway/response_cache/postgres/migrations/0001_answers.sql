-- The tables of the store in SQLite, with the same columns, except for what is said here. A text holds no NUL.

-- Locked by each transaction that writes to the store: one at a time, as in a file. It has no rows.
CREATE TABLE one_writer ();

CREATE TABLE answers (
    key               bytea  PRIMARY KEY,
    endpoint          text   NOT NULL,
    model             text   NOT NULL,
    answered_by       text   NOT NULL,
    content           bytea  NOT NULL,
    finish            text   NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    reasoning_tokens  bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    total_tokens      bigint NOT NULL,
    created_at_ms     bigint NOT NULL,
    run_id            text   NOT NULL,
    checksum          bytea  NOT NULL,
    estimated_tokens  bigint NOT NULL,
    billed_ticks      bigint,
    tier              text   NOT NULL
);
-- It is compressed before it is stored.
ALTER TABLE answers ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE spend (
    run_id            text   PRIMARY KEY,
    calls             bigint NOT NULL,
    failed            bigint NOT NULL,
    throttled         bigint NOT NULL,
    reused            bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    reasoning_tokens  bigint NOT NULL,
    cached_tokens     bigint NOT NULL,
    total_tokens      bigint NOT NULL,
    estimated_tokens  bigint NOT NULL,
    unpriced_calls    bigint NOT NULL,
    cost_ticks        bigint NOT NULL
) WITH (fillfactor = 60);

CREATE TABLE failures (
    run_id  text   NOT NULL,
    label   text   NOT NULL,
    example text   NOT NULL,
    calls   bigint NOT NULL,
    PRIMARY KEY (run_id, label)
);

-- Processes that permit calls, each by a random number, with the number of its last transaction: that of a lost COMMIT tells
-- whether it took effect.
CREATE TABLE processes (
    process bigint PRIMARY KEY,
    last    bigint NOT NULL
) WITH (fillfactor = 60);

-- Calls under way. `process`: the one that counts it.
CREATE TABLE calls (
    call            bigint PRIMARY KEY,
    key             bytea  NOT NULL,
    run_id          text   NOT NULL,
    worker          text   NOT NULL,
    tokens          bigint NOT NULL,
    estimated_ticks bigint NOT NULL,
    started_at_ms   bigint NOT NULL,
    deadline_ms     bigint NOT NULL,
    process         bigint NOT NULL
);

CREATE TABLE permit_key (
    one boolean PRIMARY KEY CHECK (one),
    key bytea   NOT NULL CHECK (length(key) = 32)
);
-- 244 random bits: the server has no other source without an extension.
INSERT INTO permit_key VALUES (true, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

CREATE TABLE servers (
    server  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version text   NOT NULL,
    flags   text   NOT NULL,
    UNIQUE (version, flags)
);

CREATE TABLE verdicts (
    server   bigint NOT NULL REFERENCES servers,
    document bytea  NOT NULL,
    verdict  text   NOT NULL,
    PRIMARY KEY (server, document)
);

CREATE TABLE judged_runs (
    run    text   PRIMARY KEY,
    server bigint NOT NULL REFERENCES servers
);

CREATE TABLE scanned_runs (
    run      text PRIMARY KEY,
    scanners text NOT NULL
);
