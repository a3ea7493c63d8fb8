'use strict';
// What callers and logs are told of a failure, in the form of Amazon's client.
const { isNativeError } = require('util').types;

class Named extends Error {}
const named = (name) => {
  const type = class extends Named {};
  Object.defineProperty(type, 'name', { value: name });
  type.prototype.name = `Runtime.${name}`;
  return type;
};

const types = Object.fromEntries(
  ['ImportModuleError', 'HandlerNotFound', 'MalformedHandlerName', 'UserCodeSyntaxError', 'MalformedStreamingHandler', 'UnhandledPromiseRejection', 'CallbackHandlerDeprecated'].map(
    (name) => [name, named(name)],
  ),
);

const looksLikeOne = (error) => isNativeError(error) || (error?.name && error?.message && typeof error?.stack === 'string');

function document(error) {
  try {
    if (looksLikeOne(error)) {
      return { errorType: error.name, errorMessage: error.message, trace: String(error.stack).split('\n') };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return { errorType: 'handled', errorMessage: 'the error could not be read', trace: [] };
  }
}

// For the log: with the error's own members.
function detailed(error) {
  if (!(error instanceof Error)) return document(error);
  const all = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  if (typeof error.stack === 'string') all.stack = error.stack.split('\n');
  return all;
}

// The same as a member of a log record in JSON.
function structured(error) {
  const { errorType, errorMessage } = document(error);
  return { errorType: error.constructor?.name ?? errorType, errorMessage, stackTrace: String(error.stack).split('\n'), ...error };
}

function rejection(reason, promise) {
  const error = new types.UnhandledPromiseRejection(reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason));
  Object.assign(error, { reason, promise });
  return error;
}

module.exports = {
  ...types,
  document,
  detailed,
  structured,
  rejection,
  body: (error) => JSON.stringify(document(error)),
  headers: (error) => [
    ['Content-Type', 'application/json'],
    ['Lambda-Runtime-Function-Error-Type', document(error).errorType],
  ],
};
