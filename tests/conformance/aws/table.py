"""The router's table and the book's lists, held against botocore's Lambda model and against each other. Needs no platform."""

import re

import model
from model import EXCEPTIONS, finding


def compare(name, row, http):
    uri = row["path"] + ("?" + row["query"] if "query" in row else "")
    for what, ours, theirs in (
        ("method", row["method"], http["method"]),
        ("path", uri, http["requestUri"]),
        ("code", row["code"], http.get("responseCode", 200)),
    ):
        if ours != theirs and EXCEPTIONS.get((name, what)) != (ours, theirs):
            finding(f"{name}: {what} is {ours!r}, the model has {theirs!r}")


def listed(heading):
    """The operations that the items below a heading of the book name."""
    section = re.search(rf"^### {heading}\n(.*?)(?=^#|\Z)", model.book(), re.M | re.S)
    items = "\n".join(re.findall(r"^(?:- |  ).*", section.group(1), re.M)) if section else ""
    return re.findall(r"`([^`]+)`", items)


def main():
    table, api = model.table(), model.service_model("lambda")
    for name in sorted(set(table) ^ set(api.operation_names)):
        finding(f"{name}: only in the {'table' if name in table else 'model'}")
    for name in set(table) & set(api.operation_names):
        compare(name, table[name], api.operation_model(name).http)
    for heading, served in (("Served", True), ("Not served", False)):
        here, there = listed(heading), {name for name, row in table.items() if row["served"] == served}
        for name in sorted(set(here) ^ there):
            finding(f"{name}: {'the book' if name in here else 'the table'} alone has it as {heading.lower()}")
        for name in {n for n in here if here.count(n) > 1}:
            finding(f"{name}: twice in the book")
    counts = f"{len(model.served('lambda'))} of the API's {len(table)} operations"
    if counts not in model.book():
        finding(f"the book doesn't say: {counts}")
    model.close(counts)


main()
