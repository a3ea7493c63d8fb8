"""What botocore's own service models say, and answers held against it. Each difference is a finding."""

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import boto3
import botocore.eventstream
import botocore.parsers

ROOT = Path(__file__).resolve().parents[3]

# Where this project follows the live service and not the model, with the reason.
EXCEPTIONS = {
    # The model says 200 since it has a StatusCode member; the service answers 204, and clients take that member from the status.
    ("DeleteFunction", "code"): (204, 200),
    # Recorded from the live service during updates; the model has this value for StateReasonCode only.
    ("LastUpdateStatusReasonCode", "value"): "Creating",
    # A function without a code signing configuration has none to name.
    ("GetFunctionCodeSigningConfig", "required"): "CodeSigningConfigArn",
}

SERVICES = ("lambda", "logs", "sts", "iam")
PYTHON_TYPES = {
    "string": str, "character": str, "blob": (str, bytes), "boolean": bool, "integer": int, "long": int,
    "float": (int, float), "double": (int, float), "list": list, "map": dict, "structure": dict, "timestamp": (str, int, float),
}

findings = []


def finding(text):
    findings.append(text)


def close(what):
    """Ends the program: what was compared, or every finding."""
    if findings:
        sys.exit("\n".join(findings))
    print(what)


def service_model(service):
    return boto3.client(service, region_name="us-east-1").meta.service_model


def table():
    """The router's own table of the Lambda API, by operation."""
    with open(ROOT / "crates/dialects/src/aws/lambda/operations.json") as file:
        return {row["name"]: row for row in json.load(file)}


def book():
    return (ROOT / "docs/dialects/aws.md").read_text()


def served(service):
    """The operations that are served, as the router's table or the book has them."""
    if service == "lambda":
        return {name for name, row in table().items() if row["served"]}
    row = next(line for line in book().splitlines() if line.startswith(f"| `{service}` |"))
    return set(re.findall(r"`([A-Z]\w+)`", row))


def name_in(member, name):
    return member.serialization.get("name", name)


def check_members(where, value, shape):
    """Raw JSON against a shape: no invented member, the right types, what is required, enumerations kept."""
    kind = shape.type_name
    if not isinstance(value, PYTHON_TYPES[kind]) or (kind in ("integer", "long") and isinstance(value, bool)):
        finding(f"{where}: {value!r} is no {kind}")
    elif kind == "structure":
        check_structure(where, value, shape, shape.members)
    elif kind == "list":
        for item in value:
            check_members(f"{where}[]", item, shape.member)
    elif kind == "map":
        for name, item in value.items():
            check_members(f"{where}[{name}]", item, shape.value)
    elif kind == "string" and getattr(shape, "enum", None) and value not in shape.enum:
        if EXCEPTIONS.get((shape.name, "value")) != value:
            finding(f"{where}: {value!r} is none of {shape.name}'s values")


def check_structure(where, value, shape, members):
    names = {name_in(member, name): member for name, member in members.items()}
    for name, item in value.items():
        if name in names:
            check_members(f"{where}.{name}", item, names[name])
        else:
            finding(f"{where}.{name}: not a member of {shape.name}")
    for name in set(shape.required_members) & set(members):
        if name_in(members[name], name) not in value and EXCEPTIONS.get((where, "required")) != name:
            finding(f"{where}.{name}: required by {shape.name} and missing")


def from_xml(where, element, shape):
    """An element of the query protocol as the JSON that it would be, so that both are held against the shape alike."""
    kind, text = shape.type_name, element.text or ""
    if kind == "structure":
        return {local(e): from_xml(f"{where}.{local(e)}", e, shape.members.get(local(e), shape)) for e in element}
    if kind == "list":
        return [from_xml(f"{where}[]", e, shape.member) for e in element if local(e) == "member"]
    if kind == "map":
        # One `entry` for each, with its `key` and its `value`.
        pairs = ({local(part): part for part in entry} for entry in element)
        return {pair["key"].text: from_xml(f"{where}[]", pair["value"], shape.value) for pair in pairs}
    if kind in ("integer", "long"):
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def local(element):
    return element.tag.rpartition("}")[2]


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
        if not (payload and payload[0].type_name == "blob"):
            check_members(f"{where}.{name}", json.loads(message.payload or b"{}"), payload[0] if payload else event)
    return seen


def check_success(operation, status, headers, body):
    """A good answer: its code, its members in the body and out of it, and what botocore makes of it."""
    where, output, protocol = operation.name, operation.output_shape, operation.metadata["protocol"]
    expected = operation.http.get("responseCode", 200)
    if status != expected and EXCEPTIONS.get((where, "code")) != (status, expected):
        finding(f"{where}: answered {status}, the model has {expected}")
    if output is None:
        if body and protocol != "query":
            finding(f"{where}: has a body, and the model has none")
        return
    if operation.has_event_stream_output:
        seen = check_stream(where, body, operation.get_event_stream_output())
        begun = ["PayloadChunk", "InvokeComplete"] if where.startswith("Invoke") else ["initial-response", "sessionStart"]
        if seen[:2] != begun or set(seen[2:]) - {"sessionUpdate"}:
            finding(f"{where}: the stream's events are {seen}")
        return
    in_body = {name: m for name, m in output.members.items() if not m.serialization.get("location")}
    if protocol == "query":
        result = next((e for e in ElementTree.fromstring(body) if local(e) == f"{where}Result"), None)
        raw = {} if result is None else from_xml(where, result, output)
        check_structure(where, raw, output, in_body)
    elif "payload" not in output.serialization and body:
        check_structure(where, json.loads(body), output, in_body)
    parsed = parse(operation, status, headers, body)
    for name in output.required_members:
        if name not in parsed and EXCEPTIONS.get((where, "required")) != name:
            finding(f"{where}.{name}: required, and botocore found none")


def parse(operation, status, headers, body):
    parser = botocore.parsers.create_parser(operation.metadata["protocol"])
    try:
        return parser.parse({"status_code": status, "headers": headers, "body": body}, operation.output_shape)
    except Exception as error:  # whatever a parser can't take is the finding
        finding(f"{operation.name}: botocore can't parse the answer: {error!r}")
        return {}


def check_refusal(operation, status, headers, body):
    """A refusal: an error that botocore can name; one of the operation's own with the status and the members of its shape.
    Returns its name and its text."""
    parsed = parse(operation, status, headers, body).get("Error", {})
    code, text = parsed.get("Code", ""), parsed.get("Message", "")
    if not code or not text:
        finding(f"{operation.name}: refused with {status}, and botocore finds no name and text of an error in {body!r}")
    shape = next((s for s in operation.error_shapes if s.name == code), None)
    if shape and operation.metadata["protocol"] == "rest-json":
        declared = shape.metadata.get("error", {}).get("httpStatusCode")
        if status != declared:
            finding(f"{operation.name}: {code} with {status}, the model has {declared}")
        members = {n: m for n, m in shape.members.items() if not m.serialization.get("location")}
        check_structure(f"{operation.name}.{code}", json.loads(body), shape, members)
    return code, text
