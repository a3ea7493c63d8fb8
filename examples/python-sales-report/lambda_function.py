"""Adds up a month's sales by region, as a nightly export would send them."""

import csv
import io
from decimal import Decimal


def lambda_handler(event, context):
    totals = {}
    for row in csv.DictReader(io.StringIO(event["csv"])):
        amount = Decimal(row["amount"])
        totals[row["region"]] = totals.get(row["region"], Decimal(0)) + amount
    print(f"{len(totals)} regions, {context.get_remaining_time_in_millis()} ms left")
    best = max(totals, key=totals.get)
    return {"totals": {region: str(total) for region, total in sorted(totals.items())}, "best": best}
