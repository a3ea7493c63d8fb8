# What a process that waits for its function compiles, finds and calls meanwhile; see `_rehearse` in loop.py.


class Nobody:
    """Takes the place of the platform."""

    def answer(self, path, body, headers):
        return (path, body, headers)


def handler(event, context):
    return {**event}
