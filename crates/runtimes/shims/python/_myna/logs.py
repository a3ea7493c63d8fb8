# What a function writes. Everything goes down one pipe as framed records, so that lines keep their order and a traceback stays
# one record; without that pipe, to the standard output. `logging` is set up when user code first imports it.
import io
import os
import sys
import time
from _thread import allocate_lock

PLAIN = 0xA55A0003
_LEVELS = ((50, 6), (40, 5), (30, 4), (20, 3), (10, 2))

request_id = None
_fd = None
_lock = allocate_lock()


def frame_type(level, json):
    """The type of a frame, for a level of the `logging` module."""
    for least, code in _LEVELS:
        if level >= least:
            return 0xA55A0002 | code << 2 | (0 if json else 1)
    return 0xA55A0002 | (0 if json else 1)


def record(data, kind=PLAIN):
    """One record, of bytes."""
    if _fd is None:
        data = data if data.endswith(b"\n") else data + b"\n"
    else:
        head = kind.to_bytes(4, "big") + len(data).to_bytes(4, "big")
        data = head + (time.time_ns() // 1000).to_bytes(8, "big") + data
    with _lock:
        view = memoryview(data)
        while view:
            view = view[os.write(1 if _fd is None else _fd, view) :]


def text(message, kind=PLAIN):
    record(message.encode("utf-8", "backslashreplace"), kind)


class _Lines(io.RawIOBase):
    """A standard stream: each line is a record."""

    def __init__(self, fileno):
        self._fileno = fileno
        self._begun = b""

    def writable(self):
        return True

    def fileno(self):
        return self._fileno

    def write(self, data):
        data = bytes(data)
        whole, end, begun = data.rpartition(b"\n")
        if end:
            for line in (self._begun + whole).split(b"\n"):
                record(line)
            self._begun = begun
        else:
            self._begun += data
            # A line without end must not grow for ever; the platform cuts long lines anyway.
            if len(self._begun) > 262144:
                self.finish()
        return len(data)

    def finish(self):
        if self._begun:
            line, self._begun = self._begun, b""
            record(line)


_streams = []


def take_over():
    """Replace the standard streams. Called once, before any user code."""
    global _fd
    number = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    if number is None:
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", write_through=True)
        return
    _fd = int(number)
    os.set_inheritable(_fd, False)
    for name, fileno in (("stdout", 1), ("stderr", 2)):
        lines = _Lines(fileno)
        _streams.append(lines)
        stream = io.TextIOWrapper(lines, encoding="utf-8", errors="backslashreplace", write_through=True)
        stream.mode = "w"
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)


def finish_lines():
    """An invocation is over: a line without its end is a record all the same."""
    for lines in _streams:
        lines.finish()


def json_format():
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def error(document):
    """An invocation's or initialisation's failure, as the log shows it."""
    kind = frame_type(40, json_format())
    if json_format():
        from . import marshal

        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return record(marshal.encode({"timestamp": stamp, "level": "ERROR", **document}), kind)
    first = "[ERROR]"
    if document["errorType"]:
        first += " " + document["errorType"]
    if document["errorMessage"]:
        first += (": " if document["errorType"] else " ") + document["errorMessage"]
    lines = [first, "Traceback (most recent call last):"]
    for entry in document["stackTrace"]:
        for line in entry.splitlines():
            bare = line.lstrip(" ")
            # Viewers drop leading blanks; these stay.
            lines.append("\u00a0" * (len(line) - len(bare)) + bare)
    text("\n".join(lines), kind)


# ------------------------------------------------------------------------------------------------- the `logging` module


class _OnImport:
    """Sets `logging` up right after its first import, whoever imports it."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def create_module(self, spec):
        return self._inner.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        _configure(module)


def set_up_logging():
    logging = sys.modules.get("logging")
    if logging is not None:
        _configure(logging)
    else:
        sys.meta_path.insert(0, _OnImport())


def _configure(logging):
    from . import logformat

    logformat.configure(logging, json_format(), os.environ.get("AWS_LAMBDA_LOG_LEVEL"))
