-- Processes that permit calls. Each holds a lock that the system frees with the process.
CREATE TABLE processes (
    process INTEGER PRIMARY KEY,
    -- The name of its lock.
    lock TEXT NOT NULL UNIQUE
) STRICT;

-- Calls under way: a row is written before the permit of its call is sent, and deleted with the result.
CREATE TABLE calls (
    -- A number that no other call has; a part of the ticket that the worker gets.
    call INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    -- The run that pays for it.
    run_id TEXT NOT NULL,
    worker TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    -- What it may cost, in ticks of 10^-10 US dollars.
    estimated_ticks INTEGER NOT NULL,
    started_at_ms INTEGER NOT NULL,
    -- When its worker has ended it in any case.
    deadline_ms INTEGER NOT NULL,
    -- 0: its worker ended with the process that permitted it.
    may_return INTEGER NOT NULL,
    -- The process that counts it.
    process INTEGER NOT NULL
) STRICT;
