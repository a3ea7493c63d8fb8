'use strict';
// Handlers that answer in pieces: `awslambda.streamifyResponse` marks them, `awslambda.HttpResponseStream` puts an HTTP head before
// the body (AWS Lambda developer guide, "Response streaming for Lambda functions").
const errors = require('./errors.cjs');
const logs = require('./logs.cjs');

const MARK = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const WITH_HEAD = 'application/vnd.awslambda.http-integration-response';

function installGlobal() {
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[MARK] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      static from(stream, head) {
        stream.setContentType(WITH_HEAD);
        // Eight zero bytes end the head.
        stream._prelude = Buffer.concat([Buffer.from(JSON.stringify(head)), Buffer.alloc(8)]);
        return stream;
      }
    },
  };
}

function make(wire, base, highWaterMark) {
  const { Writable } = require('stream');
  let type = 'application/octet-stream';
  let body = null;
  const begin = () => {
    const mode = ['Lambda-Runtime-Function-Response-Mode', 'streaming'];
    body = wire.begin(base + 'response', [['Content-Type', type], mode, ['Trailer', 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body']]);
    return stream._prelude;
  };
  const stream = new Writable({
    highWaterMark: highWaterMark ?? 65536,
    write(chunk, _, done) {
      const prelude = body ? null : begin();
      body.write(prelude ? Buffer.concat([prelude, chunk]) : chunk, done);
    },
    final(done) {
      const prelude = body ? null : begin();
      body.write(prelude ?? Buffer.alloc(0), () => body.end().then(() => done(), done));
    },
  });
  stream.setContentType = (value) => {
    if (body) throw new Error('the content type can be set only before the first write');
    type = value;
  };
  // What isn't text or bytes is written as JSON.
  const write = stream.write.bind(stream);
  const plain = (chunk) => (typeof chunk === 'string' || chunk instanceof Uint8Array || chunk === null || chunk === undefined ? chunk : JSON.stringify(chunk));
  stream.write = (chunk, ...rest) => write(plain(chunk), ...rest);
  const end = stream.end.bind(stream);
  stream.end = (chunk, ...rest) => end(typeof chunk === 'function' ? chunk : plain(chunk), ...rest);
  return { stream, begun: () => body };
}

// Serves one event in pieces, if the handler is one of these.
function streamed(handler) {
  if (!handler[MARK]) return null;
  if (handler[MARK] !== 'response') throw new errors.MalformedStreamingHandler('Only response streaming is supported.');
  return async (wire, base, event, context, report) => {
    const { stream, begun } = make(wire, base, handler[HIGH_WATER_MARK]);
    const ended = new Promise((resolve) => stream.once('finish', resolve));
    try {
      const result = handler(event, stream, context);
      if (typeof result?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
      if ((await result) !== undefined) console.warn('Streaming handlers ignore return values.');
      if (!stream.writableEnded) throw new Error('Response stream is not finished.');
      await ended;
    } catch (error) {
      logs.failure('Invoke Error', error);
      const body = begun();
      if (!body || stream.writableFinished) return stream.writableFinished ? undefined : report(error);
      // Some of it is with the client: the failure follows as trailers.
      if (stream.writableEnded) return ended;
      // `drain` is told only to who was asked to wait: an empty write behind the others tells when they are through.
      await new Promise((resolve) => stream.write('', resolve));
      const kind = String(errors.document(error).errorType).replace(/[^\x20-\x7e]/g, ' ');
      const document = Buffer.from(errors.body(error)).toString('base64');
      await body.end([['Lambda-Runtime-Function-Error-Type', kind], ['Lambda-Runtime-Function-Error-Body', document]]);
    }
  };
}

module.exports = { installGlobal, streamed };
