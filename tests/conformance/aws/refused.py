"""What must be refused, by boto3: every operation that is not served, by its name; and every served one about what isn't there,
with an error that the model has for that operation."""

import datetime

import model
from wire import Wire

UNSERVED = "NotImplementedException"


def least(shape, name=""):
    """The smallest value of a shape that a client may send."""
    kind = shape.type_name
    if kind == "structure":
        members = shape.required_members or (list(shape.members)[:1] if getattr(shape, "is_tagged_union", False) else [])
        return {n: least(shape.members[n], n) for n in members}
    if kind == "list":
        return [least(shape.member)] * shape.metadata.get("min", 0)
    if kind in ("integer", "long", "float", "double"):
        return shape.metadata.get("min", 1)
    if kind == "string" and getattr(shape, "enum", None):
        return shape.enum[0]
    if name.endswith(("Arn", "Resource")):
        return "arn:aws:lambda:us-east-1:000000000000:function:nobody"
    text = "nobody".ljust(shape.metadata.get("min", 0), "x")
    others = {"map": {}, "boolean": True, "blob": b"x", "timestamp": datetime.datetime(2026, 1, 1)}
    return others.get(kind, text)


def unserved(wire):
    api, count = wire.client.meta.service_model, 0
    for name in sorted(set(api.operation_names) - model.served(wire.service)):
        operation = api.operation_model(name)
        shape = operation.input_shape
        code, text, status = wire.refused(name, **(least(shape) if shape else {}))
        # What botocore sends without a signature ends at the door.
        at_door = operation.auth_type == "none" and (code, status) == ("MissingAuthenticationToken", 403)
        if not at_door and ((code, status) != (UNSERVED, 501) or name not in text):
            model.finding(f"{name}: not served, and answered {status} {code}: {text}")
        count += 1
    return count


# These need no function that exists.
WITHOUT = {"CreateFunction", "ListFunctions", "GetAccountSettings", "PublishLayerVersion", "ListLayers", "ListLayerVersions",
           "DeleteLayerVersion", "CreateEventSourceMapping", "ListEventSourceMappings", "CreateCodeSigningConfig", "ListCodeSigningConfigs"}
SIGNING = {"CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0"}
# What the service wants beyond its model's required members.
MORE = {
    "UpdateFunctionCode": {"ZipFile": b"x"},
    "AddPermission": {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"},
    "AddLayerVersionPermission": {"Action": "lambda:GetLayerVersion", "Principal": "*"},
    "GetLayerVersionByArn": {"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:nobody:1"},
    "CreateAlias": {"FunctionVersion": "1"},
    "PutProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "InvokeAsync": {"InvokeArgs": b"{}"},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 0},
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 0},
    "TagResource": {"Tags": {"k": "v"}},
    "UntagResource": {"TagKeys": ["k"]},
    "GetCodeSigningConfig": SIGNING,
    "UpdateCodeSigningConfig": SIGNING,
    "DeleteCodeSigningConfig": SIGNING,
    "ListFunctionsByCodeSigningConfig": SIGNING,
}


def absent(wire):
    """Each served operation about a function that isn't there."""
    api = wire.client.meta.service_model
    for name in sorted(model.served("lambda") - WITHOUT):
        operation = api.operation_model(name)
        code, text, status = wire.refused(name, **{**least(operation.input_shape), **MORE.get(name, {})})
        known = {shape.name for shape in operation.error_shapes}
        if code not in known or status != 404:
            model.finding(f"{name}: about a function that isn't there {status} {code}: {text}; the model has {sorted(known)}")


GROUP = {"resourceArn": "arn:aws:logs:us-east-1:000000000000:log-group:nobody"}
NOW = int(datetime.datetime.now().timestamp() * 1000)
# Of groups by hand, and what they need beyond their model's required members.
GROUPS = {"DeleteLogGroup": {}, "CreateLogStream": {}, "DeleteLogStream": {}, "PutRetentionPolicy": {"retentionInDays": 7},
          "DeleteRetentionPolicy": {}, "TagLogGroup": {"tags": {"k": "v"}}, "UntagLogGroup": {}, "ListTagsLogGroup": {},
          "PutLogEvents": {"logEvents": [{"timestamp": NOW, "message": "x"}]}, "TagResource": {**GROUP, "tags": {"k": "v"}},
          "UntagResource": GROUP, "ListTagsForResource": GROUP}


def no_group(wire):
    """Each operation on a log group about one that isn't there."""
    api = wire.client.meta.service_model
    for name, more in GROUPS.items():
        code, text, status = wire.refused(name, **{**least(api.operation_model(name).input_shape), **more})
        if (code, status) != ("ResourceNotFoundException", 400):
            model.finding(f"{name}: about a group that isn't there {status} {code}: {text}")


def main():
    wires = [Wire(service, inject_host_prefix=False) for service in model.SERVICES]
    refused = sum(unserved(wire) for wire in wires)
    absent(wires[0])
    no_group(wires[1])
    model.close(f"{refused} operations refused")


main()
