'use strict';
// The life of a Node.js function's process: wait for a unit if there is none, load the handler, serve one event after another.
const { Wire } = require('./wire.cjs');
const logs = require('./logs.cjs');
const errors = require('./errors.cjs');
const { load } = require('./load.cjs');
const { streamed, installGlobal } = require('./stream.cjs');
const { contextOf } = require('./context.cjs');

// Functions up to this size have their garbage collected early.
const SMALL_MIB = 512;
// How often an unbound process plays a function's first call through.
const REHEARSALS = 3;
const JSON_TYPE = [['Content-Type', 'application/json']];
const wire = new Wire(process.env.AWS_LAMBDA_RUNTIME_API);

// Where a failure that nobody caught is reported; changes with each invocation. Between two, nowhere: the process's end tells all.
let report = reporter('init/error');
// The process ends as soon as its failure is told: from then on the connection is for nothing else.
let ending = false;
// What happens when nothing is left to do; nothing by default.
let whenIdle = null;

function reporter(path) {
  return (error) => wire.post(path, errors.body(error), errors.headers(error));
}

async function main() {
  const callbacks = Number(process.versions.node.split('.')[0]) < 24;
  if (process.argv[2] === '--unbound') {
    for (let n = 0; n < REHEARSALS; n++) await rehearse(callbacks);
    await waitForUnit();
  }
  process.argv.length = 2;
  logs.takeOver();
  process.on('uncaughtException', (error) => end('Uncaught Exception', error, 129));
  process.on('unhandledRejection', (reason, promise) => end('Unhandled Promise Rejection', errors.rejection(reason, promise), 128));
  process.on('beforeExit', () => {
    const then = whenIdle;
    whenIdle = null;
    then?.();
  });
  installGlobal();
  const handler = await load(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER ?? '', callbacks);
  // A promise that was rejected while loading is noticed after this turn, and is the initialisation's failure.
  await new Promise(setImmediate);
  let event;
  while (!ending) {
    report = null;
    const { headers, body } = event ?? (await wire.next());
    event = await serve(wire, handler, headers, body, callbacks);
  }
}

// A function of our own is loaded and served once, to nobody: code that has run starts faster than code that has not.
async function rehearse(callbacks) {
  const told = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLambda-Runtime-Deadline-Ms: 0\r\nLambda-Runtime-Trace-Id: \r\n\r\n{}');
  const nobody = { hold() {}, release() {}, answer: (path, body, headers) => wire.head('POST', path, headers, Buffer.byteLength(body)) };
  const handler = await load(__dirname, 'rehearsal.handler', callbacks);
  const { headers, body } = wire.parse(told);
  await serve(nobody, handler, headers, body, callbacks);
  delete require.cache[require.resolve('./rehearsal.js')];
  delete process.env._X_AMZN_TRACE_ID;
  logs.setRequest(undefined);
}

async function waitForUnit() {
  const told = JSON.parse((await wire.ask('GET', '/myna/bind')).body);
  for (const [name, value] of Object.entries(told.env)) {
    // Setting the time zone again makes the engine forget what it knows of it.
    if (process.env[name] !== value) process.env[name] = value;
  }
  // The heap's limit can be set only on the command line, where a function's size isn't known yet. Without one, garbage piles up to
  // several times of what is in use before it is looked for, which a small function has no room for.
  if (told.memory_mib < SMALL_MIB) require('v8').setFlagsFromString('--heap-growing-percent=20');
  process.chdir(process.env.LAMBDA_TASK_ROOT ?? told.cwd);
}

async function end(what, error, status) {
  if (ending) return;
  ending = true;
  try {
    logs.failure(what, error);
    await report?.(error);
  } finally {
    process.exit(status);
  }
}

// Resolves to the next event, or to nothing where it has to be asked for.
function serve(wire, handler, headers, body, callbacks) {
  const id = headers['lambda-runtime-aws-request-id'];
  logs.setRequest(id);
  process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'] ?? '';
  const base = `invocation/${id}/`;
  report = reporter(base + 'error');
  if (streamed(handler)) {
    return streamed(handler)(wire, base, JSON.parse(body), contextOf(headers), report);
  }
  return whole(wire, handler, headers, body, base, callbacks);
}

function whole(wire, handler, headers, body, base, callbacks) {
  return new Promise((over, broken) => {
    let answered = false;
    const answer = (error, value) => {
      if (answered || ending) return;
      answered = true;
      whenIdle = null;
      // It is answered once; what fails from here on only ends the process.
      const tell = report;
      report = null;
      const fail = (error) => {
        logs.failure('Invoke Error', error);
        return tell(error);
      };
      wire.hold();
      send(error, value, fail).then(over, broken);
    };
    const send = async (error, value, fail) => {
      if (error !== undefined && error !== null) return fail(error);
      let text;
      try {
        text = JSON.stringify(value === undefined ? null : value);
      } catch {
        return fail(new Error('Unable to stringify response body'));
      }
      if (text === undefined) return fail(new TypeError(`A ${typeof value} is no JSON`));
      return wire.answer(base + 'response', text, JSON_TYPE);
    };
    const context = contextOf(headers);
    // The first word counts, whether by callback or by promise, even if it goes out later than the second.
    let said = false;
    const once = (say) => {
      if (!said) say();
      said = true;
    };
    const settle = (error, value) => {
      if (error !== undefined && error !== null) return answer(error);
      if (context.callbackWaitsForEmptyEventLoop === false) return answer(null, value);
      if (!answered) whenIdle = () => answer(null, value);
    };
    const callback = (error, value) => once(() => settle(error, value));
    const now = (error, value) => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(error, value);
    };
    if (callbacks) {
      context.done = now;
      context.succeed = (value) => now(null, value);
      context.fail = (error) => now(error ?? 'handled');
    }
    // A handler that neither answers nor promises is over when nothing is left to do.
    whenIdle = () => answer(null, null);
    // From here on, our own connection doesn't count as something to do.
    wire.release();
    const returned = (value) => once(() => answer(null, value));
    const thrown = (error) => once(() => answer(error ?? 'handled'));
    try {
      const result = callbacks ? handler(JSON.parse(body), context, callback) : handler(JSON.parse(body), context);
      if (typeof result?.then === 'function') result.then(returned, thrown);
      else if (!callbacks) returned(result);
    } catch (error) {
      thrown(error);
    }
  });
}

main().catch((error) => {
  process.listenerCount('uncaughtException') ? end('Uncaught Exception', error, 129) : process.exit(1);
});
