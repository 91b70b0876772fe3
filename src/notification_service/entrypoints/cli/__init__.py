"""The commands people and scripts type."""
