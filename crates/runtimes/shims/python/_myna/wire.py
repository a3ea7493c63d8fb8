# The Runtime API over one kept-alive connection. The C module is used directly: `socket` would bring enum, selectors and
# more, several milliseconds of start.
import _socket

_RUNTIME = "/2018-06-01/runtime/"


class Refused(Exception):
    """The platform answered a request with an error."""

    def __init__(self, status, body):
        super().__init__("the platform answered %d: %s" % (status, body[:300].decode("utf-8", "replace")))
        self.status = status


class Wire:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._host = address.encode()
        self._socket = None
        self._rest = b""

    def _connect(self):
        self._socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._socket.connect(self._address)
        self._rest = b""

    def send(self, method, path, headers=(), body=b""):
        head = [b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (method, path.encode(), self._host)]
        for name, value in headers:
            # A line end in a value would be another header.
            clean = value.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
            head.append(name + b": " + clean + b"\r\n")
        if method != b"GET":
            head.append(b"Content-Length: %d\r\n" % len(body))
        head.append(b"\r\n")
        if self._socket is None:
            self._connect()
        if len(body) < 65536:
            self._socket.sendall(b"".join(head) + body)
        else:
            self._socket.sendall(b"".join(head))
            self._socket.sendall(body)

    def receive(self):
        """Status, headers by lower-case name, body."""
        data = self._rest
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            data += self._more()
        lines = data[:end].split(b"\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        body = data[end + 4 : end + 4 + length]
        self._rest = data[end + 4 + length :]
        if len(body) < length:
            whole = bytearray(length)
            whole[: len(body)] = body
            view = memoryview(whole)
            at = len(body)
            while at < length:
                read = self._socket.recv_into(view[at:])
                if not read:
                    raise ConnectionError("the platform closed the connection in the middle of an event")
                at += read
            view.release()
            body = bytes(whole)
        return int(lines[0][9:12]), headers, body

    def _more(self):
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the platform closed the connection")
        return data

    def ask_next(self):
        self.send(b"GET", _RUNTIME + "invocation/next")

    def answer(self, path, body, headers):
        """Answer, and ask for the next event by the same request, which halves the ways between here and the platform."""
        self.send(b"POST", _RUNTIME + path, (*headers, (b"Myna-Then", "next")), body)

    def post(self, path, body, headers=()):
        self.send(b"POST", _RUNTIME + path, headers, body)
        status, _, answer = self.receive()
        if status != 202:
            raise Refused(status, answer)
