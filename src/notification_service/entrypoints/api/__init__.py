"""The HTTP API: parse, authorise, delegate, and answer in the caller's profile."""
