from tests.stores.databases import sqlite_folder, sqlite_template, sqlite_url

__all__ = ["sqlite_folder", "sqlite_template", "sqlite_url"]
