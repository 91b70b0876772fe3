from tests.stores.databases import postgres_tables, postgres_url, sqlite_folder, sqlite_template, sqlite_url

__all__ = ["postgres_tables", "postgres_url", "sqlite_folder", "sqlite_template", "sqlite_url"]
