# Events and answers as JSON. Amazon's client uses simplejson; what functions see of that is kept: decimals are numbers, bytes
# are text, named tuples are objects, and from Python 3.12 on, letters stay letters.
import json
import marshal
import os
import sys

_NEW = ("python3.12", "python3.13", "python3.14", "python3.15")


def _ascii():
    return not os.environ.get("AWS_EXECUTION_ENV", "").endswith(_NEW)


def encode(value):
    """Bytes of JSON; raises what json raises."""
    try:
        # Quick, and refuses all types but the plain ones: without named tuples and their like, nothing need be looked through.
        marshal.dumps(value)
    except ValueError:
        return _encode(_plain(value))
    try:
        return _encode(value)
    except TypeError:
        # Perhaps only for its keys.
        return _encode(_plain(value))


def _encode(value):
    numbers = []

    def default(other):
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(other, decimal.Decimal):
            if other.is_nan():
                return float("nan")
            # The encoder has no way to put digits as they are: a mark goes in and is replaced below.
            numbers.append(str(other))
            return _mark(len(numbers) - 1)
        if isinstance(other, bytes):
            return other.decode("utf-8")
        raise TypeError("Object of type %s is not JSON serializable" % type(other).__name__)

    text = json.dumps(value, ensure_ascii=_ascii(), default=default)
    for at, number in enumerate(numbers):
        text = text.replace(json.dumps(_mark(at)), number, 1)
    return text.encode("utf-8")


def _plain(value):
    """A copy where what tells its fields (named tuples) is a dict, and keys are what JSON allows. Of any depth, and a circle stays a
    circle, for json to find."""
    copies = {}
    unread = []

    def copy(one):
        if id(one) in copies:
            return copies[id(one)][1]
        fields = getattr(one, "_asdict", None)
        source = fields() if callable(fields) else one
        if not isinstance(source, (dict, list, tuple)):
            return source
        new = {} if isinstance(source, dict) else []
        # The original is kept, or another could come to have its id.
        copies[id(one)] = one, new
        unread.append((source, new))
        return new

    whole = copy(value)
    for source, new in unread:
        if isinstance(source, dict):
            new.update((_key(k), copy(v)) for k, v in source.items())
        else:
            new.extend(map(copy, source))
    return whole


def _key(key):
    if isinstance(key, bytes):
        return key.decode("utf-8")
    if key is not None and not isinstance(key, (str, int, float)):
        raise TypeError("keys must be str, int, float, bool or None, not " + type(key).__name__)
    return key


def _mark(at):
    return "\x00decimal %d of %d\x00" % (at, id(_mark))


def lenient(value):
    """For log records: what isn't JSON becomes text."""
    return json.dumps(value, ensure_ascii=False, default=str)


decode = json.loads
