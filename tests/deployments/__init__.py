"""Tests of the registry, of deployments to paper, promotions to live, and rollbacks."""
