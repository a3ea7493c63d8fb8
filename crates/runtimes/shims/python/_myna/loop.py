# The life of a Python function's process: wait for a unit if there is none, set up, import the handler, serve one event after
# another. A wire that breaks, and `sys.exit`, end the process; the platform sees that.
import os
import sys
import time

from . import logs
from .wire import Wire


def main():
    wire = Wire(os.environ["AWS_LAMBDA_RUNTIME_API"])
    if sys.argv[1:] == ["--unbound"]:
        _wait_for_unit(wire)
    sys.argv = [sys.argv[0]]
    logs.take_over()
    _site()
    _paths()
    logs.set_up_logging()
    from . import handler as handlers

    try:
        handler = handlers.find(os.environ.get("_HANDLER", ""))
    except Exception as e:
        _fail_init(wire, handlers.document(e))
    logs.finish_lines()
    wire.ask_next()
    # The platform has its answer to wait for; meanwhile, what the first event will need.
    from . import marshal
    from .context import LambdaContext

    while True:
        status, headers, body = wire.receive()
        if status == 202:
            # It took the answer, and the next event has to be asked for.
            wire.ask_next()
            continue
        if status != 200:
            sys.exit("the platform has no further event: %d %s" % (status, body[:300].decode("utf-8", "replace")))
        _serve(wire, handler, handlers, marshal, LambdaContext, headers, body)


def _wait_for_unit(wire):
    """Everything that a function's process has before its code, ready beforehand."""
    import _sitebuiltins  # noqa: F401
    import logging  # noqa: F401
    import traceback  # noqa: F401

    from . import context, handler, logformat, marshal  # noqa: F401

    _rehearse(handler, marshal, context.LambdaContext)
    wire.send(b"GET", "/myna/bind")
    status, _, body = wire.receive()
    if status != 200:
        sys.exit(0)
    told = marshal.decode(body)
    os.environ.update(told["env"])
    os.environ["_HANDLER"] = told["handler"]
    time.tzset()
    os.chdir(os.environ.get("LAMBDA_TASK_ROOT", told["cwd"]))


def _rehearse(handlers, marshal, context_type):
    """Compile, find and call a function of our own, for nobody: what has run once is in memory and runs faster the next time."""
    from . import rehearsal

    with open(rehearsal.__file__, "rb") as file:
        compile(file.read(), rehearsal.__file__, "exec")
    headers = {"lambda-runtime-deadline-ms": b"0", "lambda-runtime-trace-id": b"none"}
    _serve(rehearsal.Nobody(), handlers.find("_myna/rehearsal.handler"), handlers, marshal, context_type, headers, b"{}")
    os.environ.pop("_X_AMZN_TRACE_ID", None)
    logs.request_id = None
    del sys.modules[rehearsal.__name__]


def _site():
    # The interpreter was started without `site`, which takes longer than the rest of its start. Its names are put where code
    # expects them; where somebody set PYTHONPATH, a sitecustomize may lie there, and the whole of it runs.
    if "site" in sys.modules:
        return
    if os.environ.get("PYTHONPATH", "") != os.environ.get("MYNA_PYTHONPATH", "") or "AWS_LAMBDA_EXEC_WRAPPER" in os.environ:
        import site

        site.main()
        return
    import _sitebuiltins
    import builtins

    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.help = _sitebuiltins._Helper()


def _paths():
    """The order of AWS Lambda: the package, its layers, what the platform brings, the language's own."""
    os.environ.pop("MYNA_PYTHONPATH", None)
    version = "python%d.%d" % sys.version_info[:2]
    task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    layers = ["/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    ordered = [task, *layers]
    ordered += [path for path in dict.fromkeys(sys.path) if path not in ordered]
    sys.path[:] = ordered + layers


def _fail_init(wire, document):
    from . import marshal

    logs.error(document)
    logs.finish_lines()
    headers = ((b"Lambda-Runtime-Function-Error-Type", document["errorType"]), (b"Content-Type", "application/json"))
    wire.post("init/error", marshal.encode(document), headers)
    sys.exit(1)


def _serve(wire, handler, handlers, marshal, context_type, headers, body):
    text = lambda name: headers.get(name, b"").decode("utf-8", "replace") or None  # noqa: E731
    request_id = logs.request_id = text("lambda-runtime-aws-request-id")
    trace = text("lambda-runtime-trace-id")
    if trace is not None:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    base = "invocation/%s/" % request_id
    try:
        context = context_type(
            request_id,
            int(headers.get("lambda-runtime-deadline-ms", 0)),
            text("lambda-runtime-invoked-function-arn"),
            _given(marshal, handlers, text("lambda-runtime-client-context"), "Client Context"),
            _given(marshal, handlers, text("lambda-runtime-cognito-identity"), "Cognito Identity"),
            text("lambda-runtime-aws-tenant-id"),
        )
        answer = handler(_event(marshal, handlers, headers, body), context)
        kind, answer = _answer(marshal, handlers, answer)
    except Exception as e:
        document = handlers.document(e, request_id)
        logs.error(document)
        logs.finish_lines()
        error = ((b"Lambda-Runtime-Function-Error-Type", document["errorType"]), (b"Content-Type", "application/json"))
        return wire.answer(base + "error", marshal.encode(document), error)
    logs.finish_lines()
    wire.answer(base + "response", answer, ((b"Content-Type", kind),))


def _event(marshal, handlers, headers, body):
    if headers.get("content-type", b"application/json") != b"application/json":
        return body
    try:
        return marshal.decode(body)
    except Exception as e:
        raise handlers.Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e) from None


def _given(marshal, handlers, text, name):
    if text is None:
        return None
    try:
        return marshal.decode(text)
    except Exception as e:
        message = "Unable to parse %s JSON: %s" % (name, e)
        raise handlers.Fault("Runtime.LambdaContextUnmarshalError", message) from None


def _answer(marshal, handlers, answer):
    if isinstance(answer, bytes):
        return "application/unknown", answer
    try:
        return "application/json", marshal.encode(answer)
    except Exception as e:
        raise handlers.Fault("Runtime.MarshalError", "Unable to marshal response: %s" % e) from None
