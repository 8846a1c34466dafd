"""ml_scheduler: retrains the live stream by a cron line."""
