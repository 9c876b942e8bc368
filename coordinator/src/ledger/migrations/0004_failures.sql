-- Why a run is in the state `failed`; NULL in every other state.
ALTER TABLE runs ADD COLUMN failure TEXT;
