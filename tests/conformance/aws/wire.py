"""boto3 clients whose answers are kept as they stood on the wire, and held against the models."""

import io

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

import model


class Tee:
    """An event stream on its way to boto3; what went by is kept."""

    def __init__(self, raw):
        self.raw, self.kept = raw, b""

    def stream(self):
        for chunk in self.raw.stream():
            self.kept += chunk
            yield chunk

    def close(self):
        self.raw.close()


class Wire:
    def __init__(self, service, **config):
        self.service, self.answers = service, []
        # The models judge what is sent here and not what botocore would have let through.
        self.client = boto3.client(service, config=Config(parameter_validation=False, retries={"total_max_attempts": 1}, **config))
        self.client.meta.events.register("before-parse", self.keep)

    def keep(self, operation_model, response_dict, **_):
        body = kept = response_dict["body"]
        if isinstance(body, StreamingBody):
            kept = body.read()
            response_dict["body"] = StreamingBody(io.BytesIO(kept), len(kept))
        elif not isinstance(body, bytes):
            kept = response_dict["body"] = Tee(body)
        self.answers.append((operation_model, response_dict["status_code"], response_dict["headers"], kept))

    def call(self, operation, **parameters):
        """Calls an operation by its name in the model; a refusal is a finding."""
        try:
            return self.client._make_api_call(operation, parameters)
        except ClientError as refusal:
            model.finding(f"{operation}: refused: {refusal}")
            return {}

    def refused(self, operation, **parameters):
        """Calls an operation that must be refused; the name and the text of its error, and its status."""
        try:
            self.client._make_api_call(operation, parameters)
        except ClientError:
            of, status, headers, body = self.answers.pop()
            return (*model.check_refusal(of, status, headers, body), status)
        model.finding(f"{operation}: answered with a success")
        return "", "", 0

    def check(self):
        """Holds every answer against the model; each served operation must have been called, and no other."""
        for operation, status, headers, body in self.answers:
            if status < 300:
                model.check_success(operation, status, headers, body.kept if isinstance(body, Tee) else body)
        called = {operation.name for operation, status, *_ in self.answers if status < 300}
        for name in sorted(model.served(self.service) ^ called):
            model.finding(f"{name}: {'not said to be served' if name in called else 'said to be served'}, and {'answered' if name in called else 'never called'}")
        return len(self.answers)
