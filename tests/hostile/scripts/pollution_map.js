// expect: script_failed|delivered
// Another `map` for the next record.
function map(record) {
  if (record.hostile) {
    globalThis.map = () => ({ kind: 'entity', type: 'probe', key: 'escaped' });
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
