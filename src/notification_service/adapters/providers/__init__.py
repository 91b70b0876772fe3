"""Who takes a message to its receiver: one file for each provider."""
