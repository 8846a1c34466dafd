-- One row a sweep asked for over HTTP. The id is a hash of what was asked, so the same question is the same job.
-- token, owner and expires_at_ms are those of the worker that runs it. n_stuck: lives of workers begun in it since
-- its last new row. progress_json: what the worker last said of it.
CREATE TABLE sweep_jobs (
  job_id TEXT NOT NULL PRIMARY KEY,
  request_json TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
  reason TEXT NOT NULL,
  is_cancel_asked INTEGER NOT NULL CHECK (is_cancel_asked IN (0, 1)),
  token TEXT UNIQUE,
  owner TEXT,
  expires_at_ms BIGINT,
  n_attempts BIGINT NOT NULL CHECK (n_attempts >= 0),
  n_stuck BIGINT NOT NULL CHECK (n_stuck >= 0),
  n_rows BIGINT NOT NULL CHECK (n_rows >= 0),
  progress_json TEXT NOT NULL,
  queued_at_ms BIGINT NOT NULL,
  started_at_ms BIGINT,
  ended_at_ms BIGINT,
  CHECK ((state = 'running') = (token IS NOT NULL)),
  CHECK ((state = 'running') = (owner IS NOT NULL)),
  CHECK ((state = 'running') = (expires_at_ms IS NOT NULL)),
  CHECK ((state IN ('finished', 'failed', 'cancelled')) = (ended_at_ms IS NOT NULL))
);

CREATE INDEX sweep_jobs_by_turn ON sweep_jobs (state, queued_at_ms, job_id);
