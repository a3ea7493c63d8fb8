"""A guest book behind a function's own address. It remembers its guests while an instance lives, which is enough to show how
pages, forms, cookies and redirects work; a real one would keep them in a table."""

import base64
import html
from urllib.parse import parse_qs

guests = []

PAGE = """<!doctype html><title>Guests</title>
<h1>{greeting}</h1>
<form method="post"><input name="name" maxlength="40" required><button>Sign</button></form>
<ul>{guests}</ul>
"""


def lambda_handler(event, context):
    if event["requestContext"]["http"]["method"] == "POST":
        return sign(event)
    cookies = dict(c.split("=", 1) for c in event.get("cookies", []) if "=" in c)
    greeting = f"Welcome back, {html.escape(cookies['guest'])}" if "guest" in cookies else "Who are you?"
    listed = "".join(f"<li>{html.escape(guest)}</li>" for guest in guests)
    return {"statusCode": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": PAGE.format(greeting=greeting, guests=listed)}


def sign(event):
    body = event.get("body", "")
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    name = parse_qs(body).get("name", [""])[0].strip()[:40]
    if not name.isprintable() or not name or ";" in name:
        return {"statusCode": 400, "body": "a name has 1 to 40 printable characters"}
    guests.append(name)
    return {"statusCode": 303, "headers": {"location": event["rawPath"]}, "cookies": [f"guest={name}; HttpOnly; SameSite=Strict"]}
