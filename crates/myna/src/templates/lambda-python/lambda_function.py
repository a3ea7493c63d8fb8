import platform


def lambda_handler(event, context):
    print("called with", event)
    name = event.get("name", "world")
    return {
        "greeting": f"Hello, {name}!",
        "from": f"Python {platform.python_version()}",
        "request": context.aws_request_id,
    }
