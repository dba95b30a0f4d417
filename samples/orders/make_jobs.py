"""Print the sample's jobs, one a line: a shop's orders of one day, as untidy as such exports are.

Always the same lines: `python3 make_jobs.py > jobs.jsonl`. A number cuts the day short: `make_jobs.py 50`.
"""

import json
import sys

ORDERS = 380
REGIONS = ("north", "south", "east", "west")


def order(number):
    lines = [{"sku": f"T-{(number * k) % 90:02}", "cents": 250 + number * k % 4000, "count": k} for k in (1, 2)]
    body = {"order": f"A-{1000 + number}", "region": REGIONS[number % 4], "card": "valid", "lines": lines}
    if number in (50, 150, 250, 350):
        body["card"] = "expired"
    if number in (111, 222, 333):
        body["region"] = "island"
    if number in (77, 277):
        del body["lines"]
    if number % 45 == 0:
        body["test"] = True
    if number == 200:
        body["review"] = "by hand"
    return body


def job(number):
    """Wrap every third order in an envelope; every tenth line asks another handler for a receipt."""
    name = f"A-{1000 + number}"
    if number % 10 == 9:
        receipt = {"order": name, "email": f"customer{number}@example.com"}
        return {"id": f"receipt-{number}", "handler": "receipt", "payload": receipt}
    if number % 3 == 0:
        return {"id": f"event-{number}", "key": name, "payload": order(number), "meta": {"from": "web"}}
    return order(number)


def odd_lines(number):
    """Return what stands between the orders: repeats, and lines that no run can use."""
    if number % 12 == 0:
        yield json.dumps(job(number - 5))  # the very same line again
    if number in (60, 120, 180, 240):
        yield json.dumps(job(number) | {"id": f"event-{number}-again"})  # same key and payload, another id
    if number == 223:
        yield json.dumps(job(222) | {"id": "event-222-again"})  # repeats an order that cannot succeed
    if number == 306:
        changed = order(306) | {"region": "south", "note": "changed after it was sent"}
        yield json.dumps({"id": "event-306-changed", "key": "A-1306", "payload": changed})
    if number in (90, 190, 290):
        yield json.dumps(order(number))[:40]  # cut off
    if number == 140:
        yield "-- page 2 of 2 --"
    if number == 160:
        yield json.dumps({"payload": order(401), "max_atempts": 3})
    if number == 170:
        yield ""


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    for number in range(1, count + 1):
        print(json.dumps(job(number)))
        for line in odd_lines(number):
            print(line)


if __name__ == "__main__":
    main()
