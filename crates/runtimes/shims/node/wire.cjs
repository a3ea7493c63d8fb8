'use strict';
// The Runtime API over one kept-alive connection. `http` would take longer to load than everything else here.
const net = require('net');

const RUNTIME = '/2018-06-01/runtime/';
const END = Buffer.from('\r\n\r\n');

class Wire {
  constructor(address) {
    const at = address.lastIndexOf(':');
    this.host = address;
    this.pieces = [];
    this.length = 0;
    this.wanted = 0;
    this.waiting = null;
    const onread = { buffer: Buffer.allocUnsafeSlow(65536), callback: (read, buffer) => this.arrived(buffer.subarray(0, read)) };
    this.socket = net.connect({ host: address.slice(0, at), port: Number(address.slice(at + 1)), noDelay: true, onread });
    this.socket.on('error', (error) => this.broke(error));
    this.socket.on('close', () => this.broke(new Error('the platform closed the connection')));
  }

  // Whether the connection keeps the process alive.
  hold() {
    this.socket.ref();
  }
  release() {
    this.socket.unref();
  }

  head(method, path, headers, length) {
    let head = `${method} ${path} HTTP/1.1\r\nHost: ${this.host}\r\n`;
    for (const [name, value] of headers) {
      // A line end in a value would be another header.
      head += `${name}: ${String(value).replace(/[^\x20-\x7e]/g, ' ')}\r\n`;
    }
    return head + (length === undefined ? '' : `Content-Length: ${length}\r\n`) + '\r\n';
  }

  // The body is text.
  ask(method, path, headers = [], body) {
    this.hold();
    const head = this.head(method, path, headers, body === undefined ? undefined : Buffer.byteLength(body));
    this.socket.write(body === undefined ? head : head + body);
    return this.receive();
  }

  async next() {
    const got = await this.ask('GET', RUNTIME + 'invocation/next');
    if (got.status !== 200) {
      process.stderr.write(`the platform has no further event: ${got.status} ${got.body}\n`);
      process.exit(1);
    }
    return got;
  }

  async post(path, body, headers) {
    return accepted(await this.ask('POST', RUNTIME + path, headers, body));
  }

  // Answer, and wait for the next event by the same request, which halves the ways between here and the platform. Resolves to the
  // event, or to nothing where it has to be asked for.
  async answer(path, body, headers) {
    const got = await this.ask('POST', RUNTIME + path, [...headers, ['Myna-Then', 'next']], body);
    return got.status === 200 ? got : accepted(got);
  }

  // A body in pieces: gives functions to write one, and to end it with trailers.
  begin(path, headers) {
    this.hold();
    this.socket.write(this.head('POST', RUNTIME + path, [...headers, ['Transfer-Encoding', 'chunked']]), 'latin1');
    return {
      write: (bytes, done) => {
        if (bytes.length === 0) return done();
        this.socket.cork();
        this.socket.write(`${bytes.length.toString(16)}\r\n`, 'latin1');
        this.socket.write(bytes);
        this.socket.write('\r\n', 'latin1', () => done());
        this.socket.uncork();
      },
      end: async (trailers = []) => {
        this.socket.write('0\r\n' + trailers.map(([n, v]) => `${n}: ${v}\r\n`).join('') + '\r\n', 'latin1');
        return accepted(await this.receive());
      },
    };
  }

  receive() {
    return new Promise((resolve, reject) => (this.waiting = { resolve, reject }));
  }

  // What is given stays as it is only until this returns.
  arrived(data) {
    if (this.length > 0) {
      this.pieces.push(Buffer.from(data));
      this.length += data.length;
      // Don't join the pieces before all of it is here.
      if (this.length < this.wanted) return;
      data = Buffer.concat(this.pieces, this.length);
    }
    const got = this.parse(data);
    if (!got) {
      this.pieces = [this.length > 0 ? data : Buffer.from(data)];
      this.length = data.length;
      return;
    }
    this.pieces = [];
    this.length = this.wanted = 0;
    const { resolve } = this.waiting;
    this.waiting = null;
    resolve(got);
  }

  // One answer, if it is whole. Nothing follows it: there is one request at a time.
  parse(data) {
    const end = data.indexOf(END);
    if (end < 0) return null;
    const lines = data.toString('utf8', 0, end).split('\r\n');
    const headers = {};
    for (let n = 1; n < lines.length; n++) {
      const colon = lines[n].indexOf(':');
      headers[lines[n].slice(0, colon).toLowerCase()] = lines[n].slice(colon + 1).trim();
    }
    const whole = end + 4 + Number(headers['content-length'] ?? 0);
    if (data.length < whole) {
      this.wanted = whole;
      return null;
    }
    return { status: Number(lines[0].slice(9, 12)), headers, body: data.toString('utf8', end + 4, whole) };
  }

  broke(error) {
    if (this.waiting) {
      const { reject } = this.waiting;
      this.waiting = null;
      reject(error);
    } else {
      process.exit(1);
    }
  }
}

// What isn't accepted (an answer past the limit) is for the log; the platform has told the caller already.
function accepted(got) {
  if (got.status !== 202) {
    console.error(`the platform refused the answer: ${got.status} ${got.body}`);
  }
}

module.exports = { Wire };
