-- One row a sweep and market: how many configurations were tried, and how their Sharpe ratios are spread.
-- sharpe_m2: sum of squared differences from the mean, of n_sharpes annualised ratios.
CREATE TABLE sweep_trials (
  data_id TEXT NOT NULL,
  sweep_id TEXT NOT NULL,
  strategy TEXT NOT NULL,
  n_trials BIGINT NOT NULL CHECK (n_trials >= 0),
  n_sharpes BIGINT NOT NULL CHECK (n_sharpes >= 0),
  sharpe_mean DOUBLE PRECISION NOT NULL,
  sharpe_m2 DOUBLE PRECISION NOT NULL,
  counted_at_ms BIGINT NOT NULL,
  PRIMARY KEY (data_id, sweep_id)
);
