"""Where a caller is: the peer's address, or what proxies that are trusted say of it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

#: addresses of one header that are looked at
MOST: Final = 32


class Origins:
    """`proxies` are networks. Without any, no header is believed."""

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        self._networks: Final = tuple(ip_network(proxy) for proxy in proxies)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def of(self, peer: str, forwarded: str) -> str:
        """`forwarded` is X-Forwarded-For: each proxy adds at the end whom it heard. So the last address that is no
        trusted proxy's is the caller's; what stands before it anybody may have written."""
        if not self._trusted(peer):
            return peer
        found = peer
        for text in reversed(forwarded.split(",")[-MOST:]):
            address = _address(text)
            if address is None:
                break
            found = str(address)
            if not self._trusted(found):
                break
        return found

    def _trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
