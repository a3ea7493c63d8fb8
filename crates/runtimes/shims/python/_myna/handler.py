# Finding the handler, and telling what went wrong in the words of Amazon's client.
import builtins
import sys


class Fault(Exception):
    """A failure that isn't an exception of user code."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = trace or []


def find(name):
    if "." not in name:
        raise Fault(
            "Runtime.MalformedHandlerName",
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name,
        )
    module, _, function = name.rpartition(".")
    if module.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", "Cannot use built-in module %s as a handler module" % module)
    dotted = module.replace("/", ".")
    try:
        builtins.__import__(dotted)
        found = sys.modules[dotted]
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module, e)) from None
    except SyntaxError as e:
        trace = ['  File "%s" Line %s\n    %s' % (e.filename, e.lineno, e.text)]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module, e), trace) from None
    try:
        return getattr(found, function)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, module)) from None


def document(error, request_id=None):
    """The error document that the caller gets."""
    if isinstance(error, Fault):
        message, kind, trace = error.message, error.kind, error.trace
    else:
        import traceback

        message, kind = str(error), type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        # From the first frame that isn't ours on.
        ours = __file__.rpartition("/")[0]
        while frames and (frames[0].filename.startswith(ours) or frames[0].filename.startswith("<frozen importlib")):
            frames = frames[1:]
        trace = traceback.format_list([(f.filename, f.lineno, f.name, f.line) for f in frames])
    return {
        "errorMessage": message or "",
        "errorType": kind or "",
        "requestId": request_id or "",
        "stackTrace": trace,
    }
