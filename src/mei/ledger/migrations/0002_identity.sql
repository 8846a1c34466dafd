-- One row: which manifest this is. Two services that answer with the same id share one account of bars.
-- The row is written with the table, by whoever migrates.
CREATE TABLE identity (
  ledger_id TEXT NOT NULL PRIMARY KEY
);
