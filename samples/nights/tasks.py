"""The work of the sample: rate a customer. Each call costs money, so nobody is rated twice."""

from jqcli import handler


@handler(version=1)  # raise it when the rating changes: what the store remembers of the old one is void then
def rate(customer):
    with open("calls.log", "a") as log:  # what the rating office would bill
        log.write(f"{customer['customer']}\n")
    late = sum(days > 30 for days in customer["paid_after"])
    return {"customer": customer["customer"], "rating": "ABC"[min(late, 2)]}
