-- What a counted sweep was of, so that sweeps that share a symbol are counted together; NULL = counted before this step.
-- symbols_json: a JSON list of names, sorted.
ALTER TABLE sweep_trials ADD COLUMN symbols_json TEXT;
ALTER TABLE sweep_trials ADD COLUMN timeframe TEXT;
-- SHA-256 of the market the first run of a job has loaded: every run after it must have the same. NULL = none has yet.
ALTER TABLE sweep_jobs ADD COLUMN data_id TEXT;
