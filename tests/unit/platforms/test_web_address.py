from __future__ import annotations

import pytest

from nova.errors import Unreachable
from platforms.web_address import AddressRefused, permitted, resolve


def ask(*addresses: str, allow_private: bool = False) -> list[str]:
    return permitted("host", 80, allow_private=allow_private, resolver=lambda host, port: addresses)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_public_addresses_pass(address: str) -> None:
    assert ask(address) == [address]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1",
     "64:ff9b::a00:1", "2002:7f00:1::", "192.0.2.1", "240.0.0.1"],
)  # fmt: skip
def test_private_addresses_pass_only_where_that_was_asked_for(address: str) -> None:
    with pytest.raises(AddressRefused):
        ask(address)
    assert ask(address, allow_private=True) == [address]


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1%eth0", "224.0.0.1", "ff02::1", "::ffff:169.254.169.254"]
)
def test_link_local_and_multicast_never_pass(address: str) -> None:
    with pytest.raises(AddressRefused):
        ask(address, allow_private=True)


def test_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(AddressRefused):
        ask("93.184.215.14", "127.0.0.1")


def test_the_many_ways_to_write_loopback_are_all_resolved_first() -> None:
    for host in ("127.1", "0x7f000001", "2130706433", "localhost"):
        with pytest.raises(AddressRefused):
            permitted(host, 80, allow_private=False)


def test_an_unknown_host_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        resolve("a" * 300, 80)
