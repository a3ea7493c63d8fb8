#!/usr/bin/env python3
"""Compare the AWS dialect with botocore's own service models.

    model_check.py TABLE [RECORDINGS]

TABLE is crates/dialects/src/aws/lambda/operations.json: every operation of the Lambda API with its method, path, success code and
whether it is served. Each must be as the model has it, and none of the model's may be missing, so that a new botocore shows what
is new.

RECORDINGS is what the test `one_answer_of_every_served_operation` writes (MYNA_AWS_RECORDINGS=FILE): one answer per served
operation. botocore's parsers must accept each, each member must be one of the model's and of its type, and what the model
requires must be there. Prints one line per finding; ends with 1 when there is one.
"""

import base64
import json
import sys

import botocore.eventstream
import botocore.loaders
import botocore.model
import botocore.parsers

# Where this project follows the live service and not the model, with the reason.
EXCEPTIONS = {
    # The model says 200 since it has a StatusCode member; the service answers 204, and clients take that member from the status.
    ("DeleteFunction", "code"): (204, 200),
    # Recorded from the live service during updates; the model has this value for StateReasonCode only.
    ("LastUpdateStatusReasonCode", "value"): "Creating",
    # A function without a code signing configuration has none to name.
    ("GetFunctionCodeSigningConfig", "required"): "CodeSigningConfigArn",
}

VERSIONS = {"lambda": "2015-03-31", "logs": "2014-03-28", "sts": "2011-06-15", "iam": "2010-05-08"}
PYTHON_TYPES = {
    "string": str, "character": str, "blob": (str, bytes), "boolean": bool, "integer": int, "long": int,
    "float": (int, float), "double": (int, float), "list": list, "map": dict, "structure": dict,
}

findings = []


def finding(text):
    findings.append(text)
    print(text)


def service_model(name):
    loader = botocore.loaders.Loader()
    return botocore.model.ServiceModel(loader.load_service_model(name, "service-2", api_version=VERSIONS[name]), name)


def check_table(path):
    model = service_model("lambda")
    with open(path) as file:
        table = {row["name"]: row for row in json.load(file)}
    for name in model.operation_names:
        if name not in table:
            finding(f"{name}: in the model, not in the table")
    for name, row in table.items():
        if name not in model.operation_names:
            finding(f"{name}: in the table, not in the model")
            continue
        http = model.operation_model(name).http
        uri = row["path"] + ("?" + row["query"] if "query" in row else "")
        for what, ours, theirs in (
            ("method", row["method"], http["method"]),
            ("path", uri, http["requestUri"]),
            ("code", row["code"], http.get("responseCode", 200)),
        ):
            if ours != theirs and EXCEPTIONS.get((name, what)) != (ours, theirs):
                finding(f"{name}: {what} is {ours!r}, the model has {theirs!r}")
    return sum(row["served"] for row in table.values()), len(table)


def check_members(where, value, shape):
    """Raw JSON against a shape: no invented member, the right types, enumerations kept."""
    kind = shape.type_name
    if kind == "timestamp":
        if not isinstance(value, (str, int, float)):
            finding(f"{where}: {value!r} is no timestamp")
        return
    if not isinstance(value, PYTHON_TYPES[kind]) or (kind in ("integer", "long") and isinstance(value, bool)):
        finding(f"{where}: {value!r} is no {kind}")
        return
    if kind == "structure":
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, member in value.items():
            if name in names:
                check_members(f"{where}.{name}", member, names[name])
            else:
                finding(f"{where}.{name}: not a member of {shape.name}")
        for name in shape.required_members:
            if shape.members[name].serialization.get("name", name) not in value:
                finding(f"{where}.{name}: required by {shape.name} and missing")
    elif kind == "list":
        for item in value:
            check_members(f"{where}[]", item, shape.member)
    elif kind == "map":
        for name, item in value.items():
            check_members(f"{where}[{name}]", item, shape.value)
    elif kind == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        if EXCEPTIONS.get((shape.name, "value")) != value:
            finding(f"{where}: {value!r} is none of {shape.name}'s values")


def check_stream(where, body, shape):
    """Every message is one of the stream's events; returns the names of those seen."""
    buffer = botocore.eventstream.EventStreamBuffer()
    buffer.add_data(body)
    seen = []
    for message in buffer:
        name = message.headers[":event-type"]
        seen.append(name)
        if name == "initial-response":
            continue
        if name not in shape.members:
            finding(f"{where}: the stream has no event {name}")
            continue
        event = shape.members[name]
        payload = [m for m in event.members.values() if m.serialization.get("eventpayload")]
        if payload and payload[0].type_name == "blob":
            continue
        check_members(f"{where}.{name}", json.loads(message.payload or b"{}"), payload[0] if payload else event)
    return seen


def check_answer(models, answer):
    model = models.setdefault(answer["service"], service_model(answer["service"]))
    operation = model.operation_model(answer["operation"])
    where, body, output = answer["operation"], base64.b64decode(answer["body"]), operation.output_shape
    protocol = model.metadata["protocol"]
    expected = operation.http.get("responseCode", 200)
    if protocol == "rest-json" and answer["status"] != expected:
        if EXCEPTIONS.get((where, "code")) != (answer["status"], expected):
            finding(f"{where}: answered {answer['status']}, the model has {expected}")
    if output is None:
        if body and protocol != "query":
            finding(f"{where}: has a body, and the model has none")
        return
    if operation.has_event_stream_output:
        seen = check_stream(where, body, operation.get_event_stream_output())
        wanted = ["PayloadChunk", "InvokeComplete"] if where.startswith("Invoke") else ["initial-response", "sessionStart", "sessionUpdate"]
        if seen != wanted:
            finding(f"{where}: the stream's events are {seen}")
        return
    payload = output.serialization.get("payload")
    if protocol in ("rest-json", "json") and not payload and body:
        in_body = {n: m for n, m in output.members.items() if not m.serialization.get("location")}
        raw = json.loads(body)
        names = {m.serialization.get("name", n) for n, m in in_body.items()}
        for name in set(raw) - names:
            finding(f"{where}.{name}: not a member of {output.name}")
        for name, member in in_body.items():
            if member.serialization.get("name", name) in raw:
                check_members(f"{where}.{name}", raw[member.serialization.get("name", name)], member)
            elif name in output.required_members and EXCEPTIONS.get((where, "required")) != name:
                finding(f"{where}.{name}: required and missing")
    parser = botocore.parsers.create_parser(protocol)
    response = {"status_code": answer["status"], "headers": answer["headers"], "body": body}
    try:
        parsed = parser.parse(response, output)
    except Exception as error:  # whatever a parser can't take is the finding
        finding(f"{where}: botocore can't parse the answer: {error!r}")
        return
    if "Error" in parsed:
        finding(f"{where}: botocore reads an error: {parsed['Error']}")
    for name in output.required_members:
        if name not in parsed and EXCEPTIONS.get((where, "required")) != name:
            finding(f"{where}.{name}: required, and botocore found none")


def main(table, recordings=None):
    served, known = check_table(table)
    print(f"{served} of {known} Lambda operations are served")
    if recordings:
        with open(recordings) as file:
            answers = json.load(file)
        models = {}
        for answer in answers:
            check_answer(models, answer)
        print(f"{len(answers)} answers compared")
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
