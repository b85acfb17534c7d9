// expect: script_timeout
// A generator that never ends.
function map(record) {
  if (record.hostile) {
    function* endless() { while (true) yield 1; }
    for (const one of endless()) if (one === 2) break;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
