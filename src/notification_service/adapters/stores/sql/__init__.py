"""The store on SQLite and PostgreSQL: the only room that knows SQL."""
