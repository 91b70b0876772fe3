"""Addresses as a person at this machine types them."""


def reachable_url(host: str, port: int) -> str:
    """Return the URL of a server that listens on `host`: «every address» is reached by the loopback one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
