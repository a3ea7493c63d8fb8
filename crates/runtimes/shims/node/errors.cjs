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
  ['ImportModuleError', 'HandlerNotFound', 'MalformedHandlerName', 'UserCodeSyntaxError', 'MalformedStreamingHandler', 'UnhandledPromiseRejection'].map(
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

function rejection(reason) {
  const error = new types.UnhandledPromiseRejection(reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason));
  error.reason = reason instanceof Error ? detailed(reason) : reason;
  return error;
}

module.exports = {
  ...types,
  document,
  detailed,
  rejection,
  body: (error) => JSON.stringify(document(error)),
  headers: (error) => [
    ['Content-Type', 'application/json'],
    ['Lambda-Runtime-Function-Error-Type', document(error).errorType],
  ],
};
