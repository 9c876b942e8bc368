-- What models answered: one row a question, written before anybody uses the answer.
CREATE TABLE answers (
    number INTEGER PRIMARY KEY,
    -- BLAKE3 of everything that decides the answer: endpoint, model, messages, sampling, sample.
    key BLOB NOT NULL UNIQUE,
    -- Who was asked; empty where the run is not known any more.
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    -- The model that answered, as it names itself.
    answered_by TEXT NOT NULL,
    -- The text, compressed (zlib).
    content BLOB NOT NULL,
    finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    -- The run that paid for it.
    run_id TEXT NOT NULL,
    -- BLAKE3 of key and answer.
    checksum BLOB NOT NULL
) STRICT;

-- What each run has spent.
CREATE TABLE spend (
    run_id TEXT PRIMARY KEY,
    calls INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    throttled INTEGER NOT NULL,
    -- Questions that were answered from what was kept.
    reused INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL
) STRICT, WITHOUT ROWID;
