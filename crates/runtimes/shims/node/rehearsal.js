'use strict';
// What a process that waits for its function loads and calls meanwhile; see `rehearse`.
exports.handler = async () => ({});
