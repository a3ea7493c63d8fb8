'use strict';
// Finding the handler: `folder/file.export.nested`, in CommonJS or ES modules, as AWS Lambda resolves it.
const fs = require('fs');
const path = require('path');
const Module = require('module');
const errors = require('./errors.cjs');
const { streamed } = require('./stream.cjs');

// `callbacks`: whether a handler may take one; from Node.js 24 on, AWS Lambda calls none.
async function load(root, name, callbacks) {
  if (name.includes('..')) {
    throw new errors.MalformedHandlerName(`'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const [, module, exported] = path.basename(name).match(/^([^.]*)\.(.*)$/) ?? [];
  if (module === undefined) throw new errors.MalformedHandlerName('Bad handler');
  const base = path.resolve(root, path.dirname(name), module);
  let found;
  try {
    found = await open(base);
  } catch (error) {
    if (error instanceof SyntaxError) throw as(errors.UserCodeSyntaxError, error);
    if (error?.code === 'MODULE_NOT_FOUND') throw as(errors.ImportModuleError, error);
    throw error;
  }
  const handler = exported.split('.').reduce((inner, key) => inner && inner[key], found);
  if (!handler) throw new errors.HandlerNotFound(`${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new errors.HandlerNotFound(`${name} is not a function`);
  if (!callbacks && handler.length >= 3 && !streamed(handler)) {
    throw new errors.CallbackHandlerDeprecated(`${name} takes a callback, which AWS Lambda no longer gives from Node.js 24 on; make it an async function that returns its answer`);
  }
  return handler;
}

function as(type, error) {
  return new type(String(error));
}

async function open(base) {
  if (fs.existsSync(base) && fs.statSync(base).isFile()) return requireFile(base);
  if (fs.existsSync(base + '.js')) return isModule(path.dirname(base)) ? importFile(base + '.js') : requireFile(base + '.js');
  if (fs.existsSync(base + '.mjs')) return importFile(base + '.mjs');
  if (fs.existsSync(base + '.cjs')) return requireFile(base + '.cjs');
  // A package by its name, or a folder with an index.
  return require(require.resolve(path.basename(base), { paths: [path.dirname(base)] }));
}

function requireFile(file) {
  // It may import all the same, by the call of that name; what that takes costs some start, so only where it is used.
  if (/\bimport\s*\(/.test(fs.readFileSync(file, 'latin1'))) supplySdk();
  return require(file);
}

function importFile(file) {
  supplySdk();
  return import(require('url').pathToFileURL(file).href);
}

// The nearest package.json decides.
function isModule(folder) {
  for (;;) {
    if (folder.endsWith('/node_modules')) return false;
    const file = path.join(folder, 'package.json');
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === path.dirname(folder)) return false;
    folder = path.dirname(folder);
  }
}

// `import` doesn't look at NODE_PATH, where layers and the AWS SDK are; functions for AWS Lambda import them all the same.
function supplySdk() {
  const parents = (process.env.NODE_PATH ?? '').split(':').filter((folder) => folder.endsWith('/node_modules') && fs.existsSync(folder));
  const urls = parents.map((folder) => require('url').pathToFileURL(path.join(path.dirname(folder), 'x.mjs')).href);
  if (urls.length === 0) return;
  if (Module.registerHooks) {
    Module.registerHooks({
      resolve(specifier, context, next) {
        try {
          return next(specifier, context);
        } catch (error) {
          for (const parentURL of missing(specifier, error) ? urls : []) {
            try {
              return next(specifier, { ...context, parentURL });
            } catch {}
          }
          throw error;
        }
      },
    });
  } else if (Module.register) {
    const text = `const urls = ${JSON.stringify(urls)};
const missing = ${missing};
export async function resolve(specifier, context, next) {
  try { return await next(specifier, context); } catch (error) {
    for (const parentURL of missing(specifier, error) ? urls : []) {
      try { return await next(specifier, { ...context, parentURL }); } catch {}
    }
    throw error;
  }
}`;
    Module.register('data:text/javascript,' + encodeURIComponent(text));
  }
}

function missing(specifier, error) {
  return error?.code === 'ERR_MODULE_NOT_FOUND' && !/^([./]|\w+:)/.test(specifier);
}

module.exports = { load };
