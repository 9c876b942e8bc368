-- Totals of a run, stored when it ends: committed shards, and the sum of their tallies. For a run that ended before,
-- NULL until its status is requested.
ALTER TABLE runs ADD COLUMN committed INTEGER;
ALTER TABLE runs ADD COLUMN tally TEXT;

-- Resources of a run, over all processes that worked on it. NULL: not known, as for every run that began before.
ALTER TABLE runs ADD COLUMN wall_ms INTEGER;
ALTER TABLE runs ADD COLUMN cpu_ms INTEGER;
ALTER TABLE runs ADD COLUMN peak_rss_bytes INTEGER;
