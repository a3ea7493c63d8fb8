import sys
import time


def lambda_handler(event, context):
    print("called by", event["name"])
    time.sleep(event.get("seconds", 0))
    return {"greeting": f"Hello, {event['name']}!", "from": f"Python {sys.version.split()[0]}"}
