"""Kills the service again and again while somebody uses it, then adds up what was promised and what came."""
