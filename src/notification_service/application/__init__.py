"""What the service does (accept, deliver, sweep, intervene), written against ports only."""
