'use strict';
// The life of a Node.js function's process: wait for a unit if there is none, load the handler, serve one event after another.
const { Wire } = require('./wire.cjs');
const logs = require('./logs.cjs');
const errors = require('./errors.cjs');
const { load } = require('./load.cjs');
const { streamed, installGlobal } = require('./stream.cjs');
const { contextOf } = require('./context.cjs');

const wire = new Wire(process.env.AWS_LAMBDA_RUNTIME_API);

// Where a failure that nobody caught is reported; changes with each invocation.
let report = (error) => wire.post('init/error', errors.body(error), errors.headers(error));
// What happens when nothing is left to do; nothing by default.
let whenIdle = null;

async function main() {
  if (process.argv[2] === '--unbound') {
    await waitForUnit();
  }
  process.argv.length = 2;
  logs.takeOver();
  process.on('uncaughtException', (error) => end('Uncaught Exception', error, 129));
  process.on('unhandledRejection', (reason) => end('Unhandled Promise Rejection', errors.rejection(reason), 128));
  process.on('beforeExit', () => {
    const then = whenIdle;
    whenIdle = null;
    then?.();
  });
  installGlobal();
  const handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER ?? '');
  for (;;) {
    const { headers, body } = await wire.next();
    await serve(handler, headers, body);
  }
}

async function waitForUnit() {
  const told = JSON.parse((await wire.ask('GET', '/myna/bind')).body);
  for (const [name, value] of Object.entries(told.env)) {
    process.env[name] = value;
  }
  process.chdir(process.env.LAMBDA_TASK_ROOT ?? told.cwd);
}

async function end(what, error, status) {
  try {
    logs.failure(what, error);
    await report(error);
  } finally {
    process.exit(status);
  }
}

// Resolves when the next event may be asked for.
function serve(handler, headers, body) {
  const id = headers['lambda-runtime-aws-request-id'];
  logs.setRequest(id);
  process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'] ?? '';
  const base = `invocation/${id}/`;
  report = (error) => wire.post(base + 'error', errors.body(error), errors.headers(error));
  if (streamed(handler)) {
    return streamed(handler)(wire, base, JSON.parse(body), contextOf(headers), (error) => fail(error));
  }
  return whole(handler, headers, body, base);
}

function fail(error) {
  logs.failure('Invoke Error', error);
  return report(error);
}

function whole(handler, headers, body, base) {
  return new Promise((over, broken) => {
    let answered = false;
    const answer = (error, value) => {
      if (answered) return;
      answered = true;
      whenIdle = null;
      wire.hold();
      send(error, value).then(over, broken);
    };
    const send = async (error, value) => {
      if (error !== undefined && error !== null) return fail(error);
      let text;
      try {
        text = JSON.stringify(value === undefined ? null : value) ?? 'null';
      } catch {
        return fail(new Error('Unable to stringify response body'));
      }
      return wire.post(base + 'response', text, [['Content-Type', 'application/json']]);
    };
    const context = contextOf(headers);
    const callback = (error, value) => {
      if (error !== undefined && error !== null) return answer(error);
      if (context.callbackWaitsForEmptyEventLoop === false) return answer(null, value);
      if (!answered) whenIdle = () => answer(null, value);
    };
    const now = (error, value) => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(error, value);
    };
    context.done = now;
    context.succeed = (value) => now(null, value);
    context.fail = (error) => now(error ?? 'handled');
    // A handler that neither answers nor promises is over when nothing is left to do.
    whenIdle = () => answer(null, null);
    // From here on, our own connection doesn't count as something to do.
    wire.release();
    try {
      const result = handler(JSON.parse(body), context, callback);
      if (typeof result?.then === 'function') {
        result.then((value) => answer(null, value), (error) => answer(error ?? new Error(String(error))));
      }
    } catch (error) {
      answer(error ?? new Error(String(error)));
    }
  });
}

main().catch((error) => {
  process.listenerCount('uncaughtException') ? end('Uncaught Exception', error, 129) : process.exit(1);
});
