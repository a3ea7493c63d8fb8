# How the `logging` module's records look (AWS Lambda developer guide, "Log and monitor Python Lambda functions").
import time

from . import logs, marshal

_STANDARD = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created msecs "
    "relativeCreated thread threadName processName process taskName aws_request_id tenant_id message asctime".split()
)


def configure(logging, json, level):
    class RequestId(logging.Filter):
        def filter(self, record):
            record.aws_request_id = logs.request_id or ""
            return True

    class ToPlatform(logging.Handler):
        def emit(self, record):
            try:
                kind = logs.frame_type(record.levelno, True) if json else _text_kind(record, level)
                logs.text(self.format(record).rstrip("\n"), kind)
            except Exception:
                self.handleError(record)

    class Json(logging.Formatter):
        def format(self, record):
            return _document(self, record)

    logging.Formatter.converter = time.gmtime
    handler = ToPlatform()
    if json:
        handler.setFormatter(Json())
    else:
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(RequestId())
    root = logging.getLogger()
    root.addHandler(handler)
    level = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}.get((level or "").upper(), (level or "").upper())
    if level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        root.setLevel(level)


def _text_kind(record, level):
    # Without a chosen level, text records carry none: the platform doesn't filter them.
    return logs.frame_type(record.levelno, False) if level else logs.PLAIN


def _document(formatter, record):
    plain = isinstance(record.msg, dict) and not record.args
    document = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
        "level": record.levelname,
        "message": record.msg if plain else record.getMessage(),
        "logger": record.name,
    }
    if record.exc_info and record.exc_info[0]:
        import traceback

        document["stackTrace"] = traceback.format_tb(record.exc_info[2])
        document["errorType"] = record.exc_info[0].__name__
        document["errorMessage"] = str(record.exc_info[1])
    document["requestId"] = record.aws_request_id
    if record.exc_info:
        document["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
    for name, value in record.__dict__.items():
        if name not in _STANDARD and name not in document:
            document[name] = value
    return marshal.lenient({k: v for k, v in document.items() if v is not None})
