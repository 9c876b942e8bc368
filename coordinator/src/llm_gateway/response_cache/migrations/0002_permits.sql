-- The key of the tickets that go with permits (BLAKE3, keyed). A secret: with it, any call can be claimed to be permitted.
CREATE TABLE permit_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;

INSERT INTO permit_key VALUES (1, randomblob(32));
