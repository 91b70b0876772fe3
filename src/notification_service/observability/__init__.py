"""Logs, metrics and traces; knows nothing of the other rooms."""
