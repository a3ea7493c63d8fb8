'use strict';
// A Node.js that waits to be told where its code is, loads it and answers one event.
// Frozen: a change to this file voids every figure measured against it.
const fs = require('fs');

fs.writeSync(1, 'ready\n');
const room = Buffer.alloc(65536);
const [code, event] = room.toString('utf8', 0, fs.readSync(0, room)).split('\n');
const { handler } = require(code + '/app.js');
handler(JSON.parse(event), {}).then((answer) => {
  fs.writeSync(1, JSON.stringify(answer) + '\n');
  fs.readSync(0, room);
});
