"""How the outside world reaches the use cases: HTTP, pages, processes and commands."""
