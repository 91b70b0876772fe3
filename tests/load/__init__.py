"""Five hundred clients at once on PostgreSQL: nothing gets lost, and many requests share a transaction."""
