"""What a notification is and how it may change; no clock, no randomness, no I/O."""
