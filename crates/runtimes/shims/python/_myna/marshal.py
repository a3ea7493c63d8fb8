# Events and answers as JSON. Amazon's client uses simplejson; what functions see of that is kept: decimals are numbers, bytes
# are text, named tuples are objects, and from Python 3.12 on, letters stay letters.
import os
import sys
import json

_NEW = ("python3.12", "python3.13", "python3.14", "python3.15")


def _ascii():
    return not os.environ.get("AWS_EXECUTION_ENV", "").endswith(_NEW)


def encode(value):
    """Bytes of JSON; raises what json raises."""
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

    if _has_named_tuples():
        value = _plain(value)
    text = json.dumps(value, ensure_ascii=_ascii(), default=default)
    for at, number in enumerate(numbers):
        text = text.replace(json.dumps(_mark(at)), number, 1)
    return text.encode("utf-8")


def _has_named_tuples():
    # Looking through an answer costs time; it is done only where the function, or a library of its, has such a type.
    own = getattr(sys, "stdlib_module_names", ())
    return any(hasattr(t, "_asdict") and t.__module__.partition(".")[0] not in own for t in tuple.__subclasses__())


def _plain(value):
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _mark(at):
    return "\x00decimal %d of %d\x00" % (at, id(_mark))


def lenient(value):
    """For log records: what isn't JSON becomes text."""
    return json.dumps(value, ensure_ascii=False, default=str)


decode = json.loads
