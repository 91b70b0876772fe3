from ipaddress import ip_address, ip_network

import pytest

from notification_service.adapters.providers import special_networks
from notification_service.adapters.providers.guard import ForbiddenAddressError, OutboundGuard
from notification_service.adapters.providers.special_networks import SPECIAL_IPV4, SPECIAL_IPV6, is_public
from notification_service.domain.errors import PermanentDeliveryError, TransientDeliveryError
from tests.providers import forbidden
from tests.providers.house import House

FORBIDDEN = forbidden.PRIVATE_IPV4 + forbidden.PRIVATE_IPV6
SOME_PUBLIC = "93.184.215.14"


def url_of(address: str, port: int) -> str:
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


async def test_the_spy_and_the_listener_do_see(house: House) -> None:
    """Otherwise the tests below would prove nothing."""
    house.guard._allowed_networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

    await house.send(url_of("127.0.0.1", house.inside.port))
    if house.inside_ipv6:
        await house.send(url_of("::1", house.inside.port))

    assert house.inside.connections == 1
    assert house.inside_ipv6 is None or house.inside_ipv6.connections == 1
    assert house.attempts[0] == ("127.0.0.1", house.inside.port)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_forbidden_address_is_not_connected_to(house: House, address: str) -> None:
    """Neither written into the URL nor behind a name, nor beside a public one."""
    house.names.answers = {"inner.example": [[address]], "mixed.example": [[SOME_PUBLIC, address]]}
    hosts = [f"[{address}]" if ":" in address else address, "inner.example", "mixed.example"]

    for host in hosts:
        error = await house.refusal(f"http://{host}:{house.inside.port}/")

        assert type(error) is PermanentDeliveryError
        assert error.error_code == "forbidden_address"
    assert house.attempts == []
    assert not house.was_seen


@pytest.mark.parametrize("spelling", forbidden.LOOPBACK_SPELLINGS)
async def test_no_spelling_of_loopback_gets_in(house: House, spelling: str) -> None:
    """Whatever some parser takes for this machine is refused, whichever of them is right."""
    for url in (f"http://{spelling}:{house.inside.port}/", f"http://{spelling}/", f"https://{spelling}/x"):
        error = await house.refusal(url)

        # A name that nobody knows is looked up and not found; nothing may come nearer than that.
        assert type(error) is PermanentDeliveryError or error.error_code == "dns_failed"
    assert house.attempts == []
    assert not house.was_seen


@pytest.mark.parametrize(
    "url",
    [
        "ftp://93.184.215.14/", "file:///etc/passwd", "gopher://93.184.215.14/", "unix:///run/x.sock",
        "http:93.184.215.14", "http:/93.184.215.14/", "http:///93.184.215.14", "93.184.215.14", "", "http://",
        "https://:443/", "//93.184.215.14/", "http://93.184.215.14:0/", "http://93.184.215.14:65536/",
        "http://93.184.215.14:99999/", "http://93.184.215.14:-80/", "http://93.184.215.14:８０/",
        "http://93.184.215.14:80:80/", "http://-.example/", "http://a..example/",
        "http://user:password@public.example/", "http://public.example/a b", "http://public.example/\r\nX: 1",
        "https://" + "a" * 64 + ".example/", "https://" + "a." * 127 + "example/",
    ],
)  # fmt: skip
async def test_what_is_no_plain_web_address_is_refused(house: House, url: str) -> None:
    """Whatever is unusual about a URL is more likely an attack than a receiver."""
    error = await house.refusal(url)

    assert type(error) is PermanentDeliveryError
    assert house.attempts == []
    assert house.names.look_ups == []


async def test_an_answer_that_is_no_address_is_refused(house: House) -> None:
    """A resolver that says something else is not asked again by anybody."""
    house.names.answers = {
        "odd.example": [["localhost"]],
        "odder.example": [["127.1"]],
        "scoped.example": [["2606::1%lo"]],
    }

    for name in house.names.answers:
        error = await house.refusal(f"http://{name}/")

        assert error.error_code == "forbidden_address"
    assert house.attempts == []


async def test_a_name_without_addresses_is_not_found(house: House) -> None:
    """Nothing is connected to, and it may be better tomorrow."""
    house.names.answers = {"empty.example": [[]]}

    error = await house.refusal("https://empty.example/")

    assert type(error) is TransientDeliveryError
    assert error.error_code == "dns_failed"


async def test_a_second_look_up_cannot_change_the_address(house: House) -> None:
    """DNS rebinding: public when judged, loopback a moment later. What was judged is what is connected to."""
    house.names.answers = {"rebind.example": [[SOME_PUBLIC], ["127.0.0.1"]]}
    url = f"http://rebind.example:{house.inside.port}/"

    first = await house.refusal(url)

    assert first.error_code == "connect_failed"
    assert house.names.look_ups == ["rebind.example"]
    assert house.attempts == [(SOME_PUBLIC, house.inside.port)]
    second = await house.refusal(url)
    assert second.error_code == "forbidden_address"
    assert len(house.attempts) == 1
    assert not house.was_seen


async def test_each_connection_is_judged_anew(house: House) -> None:
    """No cache of ours remembers an address longer than its connection."""
    house.names.answers = {"moving.example": [[SOME_PUBLIC], ["1.1.1.1"]]}

    for _ in range(2):
        await house.refusal("https://moving.example/")

    assert house.attempts == [(SOME_PUBLIC, 443), ("1.1.1.1", 443)]


@pytest.mark.parametrize("network", SPECIAL_IPV4 + SPECIAL_IPV6)
def test_each_network_is_refused_from_its_first_to_its_last_address(network: str) -> None:
    """Every line of the table counts."""
    addresses = ip_network(network)
    guard = OutboundGuard(require_https=False)

    for address in (addresses[0], addresses[-1]):
        with pytest.raises(ForbiddenAddressError):
            guard.admit(url_of(str(address), 80))


def test_every_line_of_the_table_holds_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all of IPv6 beyond 2000::/3 is refused anyway."""
    monkeypatch.setattr(special_networks, "_GLOBAL_UNICAST", ip_network("::/0"))
    in_no_registry = {"::ffff:0:127.0.0.1", "4000::1", "8000::1"}

    let_through = {address for address in FORBIDDEN if is_public(ip_address(address))}

    assert let_through == in_no_registry


def test_there_are_enough_of_both() -> None:
    """A hundred addresses and thirty spellings were promised."""
    assert len(set(FORBIDDEN)) >= 100
    assert len(set(forbidden.LOOPBACK_SPELLINGS)) >= 30
