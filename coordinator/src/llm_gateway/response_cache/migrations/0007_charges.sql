-- What the provider billed for the answer, in ticks of 10^-10 US dollars; null: it did not say. And how it served the call.
ALTER TABLE answers ADD COLUMN billed_ticks INTEGER;
ALTER TABLE answers ADD COLUMN tier TEXT NOT NULL DEFAULT '';
-- What each run has spent, in the same ticks: sums of whole numbers are exact. 461,000,000 USD are the most that is counted.
ALTER TABLE spend ADD COLUMN cost_ticks INTEGER NOT NULL DEFAULT 0;
UPDATE spend SET cost_ticks = CAST(round(min(max(cost_usd, 0), 461000000) * 1e10) AS INTEGER);
ALTER TABLE spend DROP COLUMN cost_usd;
