# A Python that waits to be told where its code is, imports it and answers one event.
# Frozen: a change to this file voids every figure measured against it.
import json
import os
import sys

os.write(1, b"ready\n")
code, event, _ = os.read(0, 65536).split(b"\n")
sys.path.insert(0, code.decode())
handler = __import__("app").handler
os.write(1, json.dumps(handler(json.loads(event), None)).encode() + b"\n")
os.read(0, 1)
