"""The service from outside: its real commands as processes, and somebody who calls them over HTTP."""
