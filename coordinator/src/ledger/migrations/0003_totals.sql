-- What a run came to, stored when it ends: shards committed, and the sum of their tallies. Of a run that ended before,
-- NULL until its status is asked for.
ALTER TABLE runs ADD COLUMN committed INTEGER;
ALTER TABLE runs ADD COLUMN tally TEXT;

-- What a run has used, over all processes that worked on it. NULL: not known, as of every run that began before.
ALTER TABLE runs ADD COLUMN wall_ms INTEGER;
ALTER TABLE runs ADD COLUMN cpu_ms INTEGER;
ALTER TABLE runs ADD COLUMN peak_rss_bytes INTEGER;
