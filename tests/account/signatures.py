"""Who signed an order: the hash Hyperliquid signs, made here from its description and not by its library."""

from __future__ import annotations

from typing import Any

import msgpack
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

_ORDER_FIELDS = ("a", "b", "p", "s", "r", "t", "c")


def signer_of(body: dict[str, Any], *, mainnet: bool = False) -> str:
    """The address, lower case, that signed the body of a request to /exchange. Raises when it cannot be told."""
    hashed = msgpack.packb(_canonical(body["action"])) + body["nonce"].to_bytes(8, "big")
    vault = body["vaultAddress"]
    hashed += b"\x00" if vault is None else b"\x01" + bytes.fromhex(vault[2:])
    if body["expiresAfter"] is not None:
        hashed += b"\x00" + body["expiresAfter"].to_bytes(8, "big")
    agent = {"source": "a" if mainnet else "b", "connectionId": keccak(hashed)}
    signed = encode_typed_data(
        domain_data={
            "name": "Exchange",
            "version": "1",
            "chainId": 1337,
            "verifyingContract": "0x" + "0" * 40,
        },
        message_types={
            "Agent": [
                {"name": "source", "type": "string"},
                {"name": "connectionId", "type": "bytes32"},
            ]
        },
        message_data=agent,
    )
    signature = body["signature"]
    vrs = (signature["v"], signature["r"], signature["s"])
    return str(Account.recover_message(signed, vrs=vrs)).lower()


def _canonical(action: dict[str, Any]) -> dict[str, Any]:
    """The action with its fields in the order the exchange hashes them, whatever the order they came in."""
    orders = [{name: order[name] for name in _ORDER_FIELDS} for order in action["orders"]]
    return {"type": action["type"], "orders": orders, "grouping": action["grouping"]}
