"""Networks in which no webhook receiver lives: everything that isn't ordinary public unicast.

Written out instead of asking `ipaddress.is_global`, whose meaning has changed between Python versions.
Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries, the IANA IPv6 address space and multicast
registries (all as of 2025), and the addresses at which cloud platforms answer their own guests.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

SPECIAL_IPV4 = (
    "0.0.0.0/8",  # this network, RFC 791
    "10.0.0.0/8",  # private use, RFC 1918
    "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; also Alibaba Cloud's metadata at 100.100.100.200
    "127.0.0.0/8",  # loopback, RFC 1122
    "168.63.129.16/32",  # Azure's platform address: public by number, the host's by nature
    "169.254.0.0/16",  # link-local, RFC 3927; also most clouds' metadata at 169.254.169.254
    "172.16.0.0/12",  # private use, RFC 1918
    "192.0.0.0/24",  # IETF protocol assignments, RFC 6890; also Oracle's metadata at 192.0.0.192
    "192.0.2.0/24",  # documentation, RFC 5737
    "192.31.196.0/24",  # AS112 v4, RFC 7535
    "192.52.193.0/24",  # AMT, RFC 7450
    "192.88.99.0/24",  # former 6to4 relays, RFC 7526
    "192.168.0.0/16",  # private use, RFC 1918
    "192.175.48.0/24",  # direct delegation AS112, RFC 7534
    "198.18.0.0/15",  # benchmarking, RFC 2544
    "198.51.100.0/24",  # documentation, RFC 5737
    "203.0.113.0/24",  # documentation, RFC 5737
    "224.0.0.0/4",  # multicast, RFC 5771
    "240.0.0.0/4",  # reserved, RFC 1112, with the limited broadcast 255.255.255.255, RFC 919
)

SPECIAL_IPV6 = (
    "::/96",  # unspecified, loopback and IPv4-compatible, RFC 4291
    "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
    "64:ff9b::/96",  # IPv4/IPv6 translation, RFC 6052
    "64:ff9b:1::/48",  # local IPv4/IPv6 translation, RFC 8215
    "100::/64",  # discard only, RFC 6666
    "100:0:0:1::/64",  # dummy prefix, RFC 9780
    "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo, benchmarking, AMT, ORCHID, DRIP and others
    "2001:db8::/32",  # documentation, RFC 3849
    "2002::/16",  # 6to4, RFC 3056: an IPv4 address in disguise
    "2620:4f:8000::/48",  # direct delegation AS112, RFC 7534
    "3fff::/20",  # documentation, RFC 9637
    "5f00::/16",  # segment routing SIDs, RFC 9602
    "fc00::/7",  # unique local, RFC 4193; also AWS's metadata at fd00:ec2::254
    "fe80::/10",  # link-local, RFC 4291
    "fec0::/10",  # former site-local, RFC 3879
    "ff00::/8",  # multicast, RFC 4291
)

_IPV4 = tuple(IPv4Network(network) for network in SPECIAL_IPV4)
_IPV6 = tuple(IPv6Network(network) for network in SPECIAL_IPV6)

# All of IPv6 that is open for global unicast (RFC 4291, 2.4); what lies outside belongs to nobody yet.
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is ordinary public unicast; one with a scope id never is."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _IPV6)
