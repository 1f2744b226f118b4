"""Which addresses of the network a fetch may go to: public ones, and private ones only where that was asked for."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

from nova.errors import Refused, Unreachable

Resolve = Callable[[str, int], Sequence[str]]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Refused):
    """The address is not public."""


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, as text. Raises Unreachable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise Unreachable(f"the host {host} is not known: {problem}") from problem
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def permitted(host: str, port: int, *, allow_private: bool, resolver: Resolve = resolve) -> list[str]:
    """The addresses to connect to. Raises AddressRefused where any of them is not allowed.

    Who connects must use these very addresses: a second look-up of the name may give others.
    """
    addresses = resolver(host, port)
    for text in addresses:
        if not _allowed(ipaddress.ip_address(text.partition("%")[0]), allow_private):
            private = "set allow_private=true where this is meant to be your own network"
            raise AddressRefused(f"{host} is at {text}, which is not a public address", hint=private)
    return list(addresses)


def _allowed(address: _Address, allow_private: bool) -> bool:
    """Link-local ones never: there the clouds keep their machines' credentials."""
    inner = _embedded(address)
    if inner is not None:
        return _allowed(inner, allow_private)
    if address.is_link_local or address.is_multicast:
        return False
    public = address.is_global and not address.is_reserved
    return public or (allow_private and not address.is_unspecified)


def _embedded(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
