from datetime import timedelta
from ipaddress import ip_network

import pytest

from notification_service.adapters.providers.guard import ForbiddenAddressError, OutboundGuard
from notification_service.adapters.providers.webhook import WebhookProvider
from notification_service.domain.channels import WebhookChannel
from notification_service.domain.errors import DeliveryError
from tests.providers import forbidden
from tests.providers.house import House
from tests.providers.messages import SECRET, message, now

PUBLIC_IPV4 = forbidden.words("""
    1.1.1.1 8.8.8.8 93.184.215.14 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.1 191.255.255.255
    192.0.1.1 192.0.3.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 203.0.112.1 203.0.114.1
    223.255.255.255
""")
PUBLIC_IPV6 = forbidden.words("""
    2001:200::1 2001:4860:4860::8888 2001:db7::1 2001:db9::1 2003::1 2400:cb00::1 2606:4700::1111
    2620:4f:7fff::1 2620:4f:8001::1 2a00:1450:4001::1 2c0f::1 3fff:1000::1
""")
SOME_PUBLIC = "93.184.215.14"


@pytest.mark.parametrize("address", PUBLIC_IPV4 + PUBLIC_IPV6)
async def test_a_public_address_is_connected_to(house: House, address: str) -> None:
    """Written into the URL or behind a name; the neighbours of forbidden networks included."""
    house.names.answers = {"public.example": [[address]]}

    for host in (f"[{address}]" if ":" in address else address, "public.example"):
        error = await house.refusal(f"https://{host}/")

        assert error.error_code == "connect_failed"
    assert house.attempts == [(address, 443)] * 2


@pytest.mark.parametrize(
    "host", ["public.example", "PUBLIC.Example", "public.example.", "a_b.public.example", "bücher.example"]
)
async def test_ordinary_names_are_looked_up(house: House, host: str) -> None:
    """Capitals, a trailing dot, an underscore and letters beyond ASCII are no crime."""
    ascii_host = host.lower().replace("bücher", "xn--bcher-kva")
    house.names.answers = {ascii_host: [[SOME_PUBLIC]]}

    await house.refusal(f"https://{host}/a?b=%20c#d")

    assert house.names.look_ups == [ascii_host]
    assert house.attempts == [(SOME_PUBLIC, 443)]


@pytest.mark.parametrize(
    ("url", "require_https", "admitted"),
    [
        ("https://93.184.215.14/", True, True),
        ("https://93.184.215.14:443/", True, True),
        ("http://93.184.215.14/", True, False),
        ("http://93.184.215.14/", False, True),
        ("http://93.184.215.14:443/", True, False),
        ("http://93.184.215.14:443/", False, False),
        ("https://93.184.215.14:80/", False, False),
        ("https://93.184.215.14:8443/", True, False),
        ("http://93.184.215.14:8080/", False, False),
        ("http://93.184.215.14:22/", False, False),
        ("https://public.example/", True, True),
        ("http://public.example/", True, False),
        ("http://public.example/", False, True),
        ("https://public.example:8443/", True, False),
        ("http://public.example:443/", False, False),
    ],
)
def test_scheme_and_port_are_judged_before_any_look_up(url: str, require_https: bool, admitted: bool) -> None:
    """Outside development a webhook is https on its own port."""
    guard = OutboundGuard(require_https=require_https)

    if admitted:
        assert str(guard.admit(url)).startswith(url.partition(":")[0])
    else:
        with pytest.raises(ForbiddenAddressError):
            guard.admit(url)


ALLOWED = [ip_network("10.20.0.0/16"), ip_network("fd00:1::/64")]


@pytest.mark.parametrize(
    ("url", "answer", "reached"),
    [
        ("http://10.20.1.2:9000/", [], ["10.20.1.2"]),
        ("https://10.20.1.2:8443/", [], ["10.20.1.2"]),
        ("http://[fd00:1::5]:9000/", [], ["fd00:1::5"]),
        ("http://10.21.1.2:9000/", [], []),
        ("http://[fd00:2::5]:9000/", [], []),
        ("http://[::ffff:10.20.1.2]:9000/", [], []),
        ("http://inner.example:9000/", ["10.20.1.2"], ["10.20.1.2"]),
        ("http://inner.example/", ["10.20.1.2"], ["10.20.1.2"]),
        ("http://inner.example:9000/", ["10.21.1.2"], []),
        ("http://inner.example:9000/", [SOME_PUBLIC], []),
        ("http://inner.example/", [SOME_PUBLIC], []),
        ("https://inner.example/", [SOME_PUBLIC], [SOME_PUBLIC]),
        ("https://inner.example/", ["10.21.1.2"], []),
        ("http://inner.example:9000/", ["127.0.0.1", "10.20.1.2", SOME_PUBLIC], ["10.20.1.2"]),
    ],
)
async def test_allowed_networks_are_exempt(
    house: House, url: str, answer: list[str], reached: list[str]
) -> None:
    """Any port and plain http for their addresses, and not a bit more for all others."""
    house.names.answers = {"inner.example": [answer]}
    guard = OutboundGuard(require_https=True, allowed_networks=ALLOWED, resolve=house.names.resolve)
    provider = WebhookProvider(secret=SECRET, guard=guard, timeout=timedelta(seconds=2), now=now)

    async with provider:
        with pytest.raises(DeliveryError) as caught:
            await provider.send(message(WebhookChannel(url=url)))

    assert caught.value.error_code == ("connect_failed" if reached else "forbidden_address")
    assert [address for address, _ in house.attempts] == reached


async def test_a_kept_connection_needs_no_second_look_up(house: House) -> None:
    """Its address was judged when it was made."""
    house.guard._allowed_networks = (ip_network("127.0.0.0/8"),)
    house.names.answers = {"hooks.example": [["127.0.0.1"], ["10.0.0.1"]]}

    for _ in range(5):
        await house.send(f"http://hooks.example:{house.inside.port}/")

    assert house.names.look_ups == ["hooks.example"]
    assert (house.inside.connections, len(house.inside.requests)) == (1, 5)
