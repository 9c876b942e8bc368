-- API servers that judged documents, by their version and the flags that decide what they answer.
CREATE TABLE servers (
    server  INTEGER PRIMARY KEY,
    version TEXT NOT NULL,
    flags   TEXT NOT NULL,
    UNIQUE (version, flags)
) STRICT;

-- What a server answered about a text, by the hash of the text; as JSON, without secrets.
CREATE TABLE verdicts (
    server   INTEGER NOT NULL REFERENCES servers (server),
    document BLOB    NOT NULL,
    verdict  TEXT    NOT NULL,
    PRIMARY KEY (server, document)
) STRICT, WITHOUT ROWID;

-- The server that judges a run: one from its first lease to its end. A run is named by its id and when it was created.
CREATE TABLE judged_runs (
    run    TEXT    NOT NULL PRIMARY KEY,
    server INTEGER NOT NULL REFERENCES servers (server)
) STRICT, WITHOUT ROWID;
