"""The event store: what users did, durable once acknowledged, in SQLite or PostgreSQL."""
