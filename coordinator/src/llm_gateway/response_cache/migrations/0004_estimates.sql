-- The part of `total_tokens` that the provider did not count.
ALTER TABLE answers ADD COLUMN estimated_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spend ADD COLUMN estimated_tokens INTEGER NOT NULL DEFAULT 0;
-- Billed calls whose cost is not known.
ALTER TABLE spend ADD COLUMN unpriced_calls INTEGER NOT NULL DEFAULT 0;
