"""Bearer tokens that say who calls."""
