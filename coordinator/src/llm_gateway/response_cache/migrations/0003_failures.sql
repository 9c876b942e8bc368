-- Why calls of each run gave no answer: one row a reason, of which each run has a bounded number.
CREATE TABLE failures (
    run_id TEXT NOT NULL,
    -- The reason without its numbers, which tell reasons apart.
    label TEXT NOT NULL,
    -- The reason as it came first.
    example TEXT NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (run_id, label)
) STRICT, WITHOUT ROWID;
