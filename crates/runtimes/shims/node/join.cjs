'use strict';
// The files of this folder come as one, behind these lines: each further file that is looked for and read takes its share of a start.
const own = {};
const joined = Object.assign(
  (name) => {
    const part = own[name];
    if (!part) return require(name);
    if (!part.exports) {
      part.exports = {};
      part(part, part.exports, joined);
    }
    return part.exports;
  },
  { resolve: require.resolve, cache: require.cache },
);
