// expect: script_failed
// A global for the next record.
function map(record) {
  if (record.hostile) {
    globalThis.left = 'escaped';
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
