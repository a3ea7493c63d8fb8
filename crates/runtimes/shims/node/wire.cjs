'use strict';
// The Runtime API over one kept-alive connection. `http` would take longer to load than everything else here.
const net = require('net');

const RUNTIME = '/2018-06-01/runtime/';
const END = Buffer.from('\r\n\r\n');

class Wire {
  constructor(address) {
    const at = address.lastIndexOf(':');
    this.host = address;
    this.socket = net.connect({ host: address.slice(0, at), port: Number(address.slice(at + 1)), noDelay: true });
    this.pieces = [];
    this.length = 0;
    this.waiting = null;
    this.socket.on('data', (piece) => {
      this.pieces.push(piece);
      this.length += piece.length;
      this.arrived();
    });
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

  async ask(method, path, headers = [], body) {
    this.hold();
    const bytes = body === undefined ? undefined : Buffer.from(body);
    this.socket.write(this.head(method, path, headers, bytes?.length), 'latin1');
    if (bytes?.length) this.socket.write(bytes);
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
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.arrived();
    });
  }

  arrived() {
    if (!this.waiting || this.length < (this.wanted ?? 0)) return;
    const data = this.pieces.length === 1 ? this.pieces[0] : Buffer.concat(this.pieces);
    this.pieces = data.length ? [data] : [];
    const end = data.indexOf(END);
    if (end < 0) return;
    const lines = data.toString('utf8', 0, end).split('\r\n');
    const headers = {};
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const whole = end + 4 + Number(headers['content-length'] ?? 0);
    if (data.length < whole) {
      // Don't look again, and don't join the pieces, before all of it is here.
      this.wanted = whole;
      return;
    }
    this.wanted = 0;
    const rest = data.subarray(whole);
    this.pieces = rest.length ? [rest] : [];
    this.length = rest.length;
    const { resolve } = this.waiting;
    this.waiting = null;
    resolve({ status: Number(lines[0].slice(9, 12)), headers, body: data.toString('utf8', end + 4, whole) });
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
