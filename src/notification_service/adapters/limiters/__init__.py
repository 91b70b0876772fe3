"""How many notifications a user may be sent in an hour: one file for each place that counts."""
