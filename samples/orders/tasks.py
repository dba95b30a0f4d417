"""Handlers for a shop's orders. The payment service is played by a few lines at the end of this file."""

import time

from jqcli import Reject, Retry, Skip, handler


class BankUnreachableError(ConnectionError):
    """The payment service did not answer."""


def receipt(payload):
    """Write a receipt: a plain function of the payload is a complete handler."""
    return {"to": payload["email"], "text": f"Thank you for order {payload['order']}."}


# Only a lost connection is worth another try: a KeyError means that the order itself is broken.
@handler(max_attempts=4, timeout="10s", retry_on=(ConnectionError,))
def charge(order, ctx):
    """Charge one order to its card."""
    if order.get("test"):
        raise Skip("a test order")
    if order["card"] == "expired":
        raise Reject("the card has expired")
    cents = sum(line["cents"] * line["count"] for line in order["lines"])
    if order.get("review") == "by hand":
        time.sleep(1.2)  # somebody looks at it
    ask_bank(order, ctx.attempt)
    return {"order": order["order"], "region": order["region"], "cents": cents}


def ask_bank(order, attempt):
    """Answer as a payment service does on a bad day, yet the same on every run."""
    time.sleep(0.004)
    number = int(order["order"].removeprefix("A-"))
    if order["region"] == "island":
        raise BankUnreachableError("no route to the island's bank")
    if number % 13 == 0 and attempt == 1:
        raise BankUnreachableError("connection reset")
    if number % 29 == 0 and attempt <= 2:
        raise Retry("too many requests", after="50ms")
