-- The epoch: changed by a take-over alone, and locked by every transaction of the owner.
CREATE TABLE ownership (epoch bigint PRIMARY KEY);
INSERT INTO ownership VALUES (0);

-- The lease of the owner of this epoch; "until" is by the clock of the server.
CREATE TABLE owner_lease (
    epoch bigint PRIMARY KEY,
    identity text NOT NULL,
    name text NOT NULL,
    place text NOT NULL,
    until timestamptz NOT NULL
);
INSERT INTO owner_lease VALUES (0, '', '', '', '-infinity');

-- What all coordinators share: keys of secrets, the mark of the store of results.
CREATE TABLE shared_values (name text PRIMARY KEY, value bytea NOT NULL);

-- Begins what only the owner of an epoch may do. A take-over waits for the transactions that have passed it.
CREATE FUNCTION fence(mine bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM ownership WHERE epoch = mine FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another coordinator has taken over' USING ERRCODE = 'KAF01';
    END IF;
END
$$;
