-- Hash of the run.json with which a run was finished; NULL before, and where an older release finished it.
ALTER TABLE runs ADD COLUMN run_file bytea;
