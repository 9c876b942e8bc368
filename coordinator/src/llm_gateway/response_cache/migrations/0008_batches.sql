-- Batches of questions at providers. A batch is recorded before it is submitted; its mark goes with it, and finds it again.
CREATE TABLE batches (
    number INTEGER PRIMARY KEY,
    mark TEXT NOT NULL UNIQUE,
    -- The run that pays for it.
    run_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    -- gathering, ready, uploaded, creating, submitted, ended, done or dropped.
    phase TEXT NOT NULL,
    -- What the phase needs, as JSON.
    detail TEXT NOT NULL,
    lines INTEGER NOT NULL,
    -- The process that works on it: a lock that the system frees with the process.
    owner TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL
) STRICT;

-- Questions that are in a batch, were in one without an answer, or failed in one for good.
CREATE TABLE batch_lines (
    key BLOB PRIMARY KEY,
    -- The batch that it is in; NULL: none.
    mark TEXT,
    -- In how many batches it has been.
    tries INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    -- Why it failed for good; NULL: it did not.
    failure TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_lines_by_mark ON batch_lines (mark) WHERE mark IS NOT NULL;
