"""Versioned SQL, portable between SQLite and PostgreSQL; applied in order, never edited once released."""
