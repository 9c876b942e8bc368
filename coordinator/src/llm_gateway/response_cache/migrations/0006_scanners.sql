-- The scanners that judge a run with their versions, as JSON: the same from its first lease to its end. A run is named by its id
-- and when it was created.
CREATE TABLE scanned_runs (
    run      TEXT NOT NULL PRIMARY KEY,
    scanners TEXT NOT NULL
) STRICT, WITHOUT ROWID;
