'use strict';
// `console` as on AWS Lambda: each call is one record, with time, request and level. Frames go down a pipe of their own, so that a
// record may hold several lines; what is written to the standard streams directly stays as it is.
const fs = require('fs');
const util = require('util');
const errors = require('./errors.cjs');

const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
let request;
let json = false;
let fd = null;

function takeOver() {
  json = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  if (process.env._LAMBDA_TELEMETRY_LOG_FD !== undefined) {
    fd = Number(process.env._LAMBDA_TELEMETRY_LOG_FD);
    delete process.env._LAMBDA_TELEMETRY_LOG_FD;
  }
  const least = LEVELS[process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? LEVELS.TRACE;
  const at = (level) => (LEVELS[level] >= least ? (...parts) => log(level, parts) : () => {});
  console.trace = at('TRACE');
  console.debug = at('DEBUG');
  console.info = console.log = at('INFO');
  console.warn = at('WARN');
  console.error = at('ERROR');
  console.fatal = at('FATAL');
}

function log(level, parts) {
  const now = new Date();
  const text = json ? object(level, now, parts) : `${now.toISOString()}\t${request}\t${level}\t${line(parts)}`;
  if (fd === null) {
    process.stdout.write(text.replace(/\n/g, '\r') + '\n');
    return;
  }
  const message = Buffer.from(text, 'utf8');
  const frame = Buffer.alloc(16 + message.length);
  frame.writeUInt32BE((0xa55a0002 | (LEVELS[level] << 2) | (json ? 0 : 1)) >>> 0, 0);
  frame.writeUInt32BE(message.length, 4);
  frame.writeBigUInt64BE(BigInt(now.getTime()) * 1000n, 8);
  message.copy(frame, 16);
  write(frame);
}

// Without arguments, `undefined`: the first one is formatted whether it is there or not.
function line([first, ...rest]) {
  return util.format(first, ...rest);
}

function write(frame) {
  for (let at = 0; at < frame.length; ) {
    try {
      at += fs.writeSync(fd, frame, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

function object(level, now, parts) {
  const record = { timestamp: now.toISOString(), level, requestId: request };
  const plain = (_, value) => (value instanceof Error ? errors.structured(value) : value);
  if (parts.length <= 1) {
    try {
      return JSON.stringify({ ...record, message: parts[0] }, plain);
    } catch {
      return JSON.stringify({ ...record, message: util.format(parts[0]) });
    }
  }
  record.message = line(parts);
  const error = parts.find((part) => part instanceof Error);
  if (error) {
    Object.assign(record, { errorType: error.constructor?.name ?? 'UnknownError', errorMessage: error.message });
    record.stackTrace = String(error.stack).split('\n');
  }
  return JSON.stringify(record);
}

// What was thrown need not be an error; in the log it looks like one.
function failure(what, thrown) {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (json) {
    console.error(error);
    return;
  }
  let text;
  try {
    text = JSON.stringify(errors.detailed(error), (_, value) => (value instanceof Error ? errors.detailed(value) : value));
  } catch {
    text = JSON.stringify(errors.document(error));
  }
  console.error(what, '\t' + text);
}

module.exports = {
  takeOver,
  failure,
  setRequest(id) {
    request = id;
    // Amazon's client keeps it here; tracing libraries look.
    globalThis[Symbol.for('aws.lambda.runtime.requestId')] = id;
  },
};
