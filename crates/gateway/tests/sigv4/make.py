"""Writes vectors.json: requests signed by botocore, as it would put them on the wire.

    python3 make.py > vectors.json        (botocore 1.43)
"""
import datetime
import json

import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJ+x=="


def fixed(*_args, **_kwargs):
    return NOW


botocore.auth.get_current_datetime = fixed

HOST = "http://127.0.0.1:9000"
ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af"
# name, service, method, url, headers, body, session token, presigned for so many seconds
CASES = [
    ("list functions", "lambda", "GET", "/2015-03-31/functions/", {}, b"", False, 0),
    ("root", "sts", "POST", "/", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, b"Action=GetCallerIdentity&Version=2011-06-15", False, 0),
    ("json", "logs", "POST", "/", {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"}, b"{}", False, 0),
    ("encoded colons", "lambda", "GET", f"/2015-03-31/functions/{ARN}", {}, b"", False, 0),
    ("plain colons", "lambda", "GET", "/2015-03-31/functions/f:prod", {}, b"", False, 0),
    ("encoded slash", "lambda", "GET", "/2015-03-31/functions/a%2Fb", {}, b"", False, 0),
    ("blank in path", "lambda", "GET", "/a%20b/c+d", {}, b"", False, 0),
    ("unicode path", "lambda", "GET", "/%E2%82%AC/%C3%BC", {}, b"", False, 0),
    ("dots and slashes", "lambda", "GET", "/a/./b/../c//d/", {}, b"", False, 0),
    ("tilde and marks", "lambda", "GET", "/~a-b_c.d/(e)!'*", {}, b"", False, 0),
    ("query in order", "lambda", "GET", "/f?MaxItems=10&Marker=abc", {}, b"", False, 0),
    ("duplicate parameters", "lambda", "DELETE", "/2017-03-31/tags/x?tagKeys=b&tagKeys=a&tagKeys=b", {}, b"", False, 0),
    ("empty values", "lambda", "GET", "/f?b=&a&c=1", {}, b"", False, 0),
    ("encoded query", "lambda", "GET", "/f?q=a%20b%2Fc%2Bd&r=%E2%82%AC", {}, b"", False, 0),
    ("equals in value", "lambda", "GET", "/f?k=v%3Dw", {}, b"", False, 0),
    ("plus in query", "lambda", "GET", "/f?q=a+b", {}, b"", False, 0),
    ("lower-case escapes", "lambda", "GET", "/f?q=%2fx", {}, b"", False, 0),
    ("case decides order", "lambda", "GET", "/f?b=1&B=2&a=3&A=4", {}, b"", False, 0),
    ("blanks in a header", "lambda", "POST", "/2015-03-31/functions/f/invocations", {"X-Amz-Client-Context": "  a   b  "}, b'{"k":1}', False, 0),
    ("payload", "lambda", "POST", "/2015-03-31/functions/f/invocations", {"X-Amz-Invocation-Type": "RequestResponse"}, "{\"k\":\"\u20ac\"}".encode(), False, 0),
    ("session token", "lambda", "POST", "/2015-03-31/functions/f/invocations", {}, b"{}", True, 0),
    ("declared hash", "lambda", "PUT", "/f", {"X-Amz-Content-SHA256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}, b"{}", False, 0),
    ("presigned", "lambda", "GET", "/2015-03-31/functions/f", {}, b"", False, 300),
    ("presigned with a token", "sts", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", {}, b"", True, 60),
    ("presigned with odd parameters", "lambda", "GET", "/a%20b?x=1&x=0&y=&z=%2F", {}, b"", False, 604800),
]


def case(name, service, method, path, headers, body, token, expires):
    credentials = Credentials(KEY, SECRET, TOKEN if token else None)
    request = AWSRequest(method=method, url=HOST + path, headers=dict(headers), data=body)
    if expires:
        SigV4QueryAuth(credentials, service, "us-east-1", expires=expires).add_auth(request)
    else:
        SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    wire = request.prepare()
    sent = {k.lower(): v for k, v in wire.headers.items()}
    sent = {k: v.decode() if isinstance(v, bytes) else v for k, v in sent.items()}
    sent["host"] = "127.0.0.1:9000"
    return {
        "name": name,
        "service": service,
        "method": method,
        "target": wire.url[len(HOST):],
        "headers": sent,
        "body": body.decode(),
        "token": TOKEN if token else None,
    }


print(json.dumps({"at_ms": 1767323045000, "key": KEY, "secret": SECRET, "cases": [case(*c) for c in CASES]}, indent=1))
