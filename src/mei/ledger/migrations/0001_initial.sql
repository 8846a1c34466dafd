-- Portable between SQLite and PostgreSQL. Times are epoch milliseconds UTC; bar times are open times.
-- No statement may contain a semicolon but at its end.

-- One row a file of candles in a series; the same content may be in several streams.
CREATE TABLE files (
  stream TEXT NOT NULL,
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  path TEXT NOT NULL,
  first_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  n_bars BIGINT NOT NULL CHECK (n_bars >= 1),
  spans_json TEXT,
  registered_at_ms BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('downloaded', 'processing', 'processed', 'deleted')),
  claim_token TEXT,
  claimed_from TEXT CHECK (claimed_from IN ('downloaded', 'processed')),
  PRIMARY KEY (stream, symbol, timeframe, sha256),
  CHECK (first_ms <= last_ms),
  CHECK ((state = 'processing') = (claim_token IS NOT NULL)),
  CHECK ((state = 'processing') = (claimed_from IS NOT NULL))
);

CREATE INDEX files_by_registration ON files (stream, symbol, timeframe, registered_at_ms, last_ms);

CREATE INDEX files_by_claim ON files (claim_token);

-- One row a series: the newest bar ever registered. It never goes back.
CREATE TABLE watermarks (
  stream TEXT NOT NULL,
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  through_ms BIGINT NOT NULL,
  PRIMARY KEY (stream, symbol, timeframe)
);

-- At most one trainer a series.
CREATE TABLE claims (
  stream TEXT NOT NULL,
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  token TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  as_of_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (stream, symbol, timeframe)
);

-- Completed fits. `decision` is the gate's and never changes; who is champion follows from `promotions`.
CREATE TABLE models (
  stream TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version >= 1),
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  as_of_ms BIGINT NOT NULL,
  parent_version BIGINT,
  trained_through_ms BIGINT NOT NULL,
  serves_from_ms BIGINT NOT NULL,
  decision TEXT NOT NULL CHECK (decision IN ('accepted', 'rejected')),
  is_archived INTEGER NOT NULL CHECK (is_archived IN (0, 1)),
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  metrics_json TEXT NOT NULL,
  PRIMARY KEY (stream, version),
  UNIQUE (stream, symbol, timeframe, as_of_ms),
  FOREIGN KEY (stream, parent_version) REFERENCES models (stream, version),
  CHECK (trained_through_ms <= as_of_ms),
  CHECK (serves_from_ms >= as_of_ms),
  CHECK (parent_version < version)
);

-- The bars each completed fit was given.
CREATE TABLE trained_ranges (
  stream TEXT NOT NULL,
  version BIGINT NOT NULL,
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  mode TEXT NOT NULL CHECK (mode IN ('exactly_once', 'sliding')),
  first_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  PRIMARY KEY (stream, version, first_ms),
  FOREIGN KEY (stream, version) REFERENCES models (stream, version),
  CHECK (first_ms <= last_ms)
);

CREATE INDEX ranges_by_series ON trained_ranges (stream, symbol, timeframe, mode, first_ms, last_ms);

-- Overlaps are refused by the publishing transaction. These two are the last line of defence.
CREATE UNIQUE INDEX ranges_start_once ON trained_ranges (stream, symbol, timeframe, first_ms)
  WHERE mode = 'exactly_once';

CREATE UNIQUE INDEX ranges_end_once ON trained_ranges (stream, symbol, timeframe, last_ms)
  WHERE mode = 'exactly_once';

-- Every training asked for, one row a question, whatever came of it.
CREATE TABLE trainings (
  stream TEXT NOT NULL,
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  as_of_ms BIGINT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('completed', 'skipped', 'too_small', 'failed')),
  reason TEXT NOT NULL,
  seen_through_ms BIGINT,
  model_version BIGINT,
  response_json TEXT NOT NULL,
  PRIMARY KEY (stream, symbol, timeframe, as_of_ms),
  FOREIGN KEY (stream, model_version) REFERENCES models (stream, version),
  CHECK ((status = 'completed') = (model_version IS NOT NULL))
);

-- The event log of who was made champion. `seq` orders what was decided at one time.
CREATE TABLE promotions (
  stream TEXT NOT NULL,
  seq BIGINT NOT NULL,
  symbol TEXT NOT NULL,
  timeframe TEXT NOT NULL,
  version BIGINT NOT NULL,
  decided_at_ms BIGINT NOT NULL,
  serves_from_ms BIGINT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('gate', 'manual', 'rollback')),
  PRIMARY KEY (stream, seq),
  FOREIGN KEY (stream, version) REFERENCES models (stream, version),
  CHECK (serves_from_ms >= decided_at_ms)
);

CREATE INDEX promotions_by_decision ON promotions (stream, symbol, timeframe, decided_at_ms, seq);

CREATE INDEX promotions_by_service ON promotions (stream, symbol, timeframe, serves_from_ms, decided_at_ms, seq);

-- Closed trades, told to the policy.
CREATE TABLE outcomes (
  stream TEXT NOT NULL,
  trade_id TEXT NOT NULL,
  strategy TEXT NOT NULL,
  instrument TEXT NOT NULL,
  preset_id TEXT NOT NULL,
  known_at_ms BIGINT NOT NULL,
  net_pnl_bps DOUBLE PRECISION NOT NULL,
  features_json TEXT NOT NULL,
  PRIMARY KEY (stream, trade_id)
);

CREATE INDEX outcomes_by_time ON outcomes (stream, strategy, instrument, known_at_ms, trade_id);

-- Presets registered at run time, beside those of the strategy's schema.
CREATE TABLE presets (
  stream TEXT NOT NULL,
  strategy TEXT NOT NULL,
  instrument TEXT NOT NULL,
  preset_id TEXT NOT NULL,
  known_at_ms BIGINT NOT NULL,
  params_json TEXT NOT NULL,
  PRIMARY KEY (stream, strategy, instrument, preset_id)
);

-- One row an attempt at a run; each attempt has a stream of its own.
CREATE TABLE runs (
  run_id TEXT NOT NULL,
  attempt BIGINT NOT NULL CHECK (attempt >= 1),
  stream TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL CHECK (status IN ('running', 'finished', 'failed')),
  settings_json TEXT NOT NULL,
  data_json TEXT NOT NULL,
  outputs_json TEXT,
  created_at_ms BIGINT NOT NULL,
  finished_at_ms BIGINT,
  PRIMARY KEY (run_id, attempt)
);

-- The newest checkpoint of each stream.
CREATE TABLE checkpoints (
  stream TEXT NOT NULL PRIMARY KEY,
  as_of_ms BIGINT NOT NULL,
  state_json TEXT NOT NULL
);
