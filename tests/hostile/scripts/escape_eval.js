// expect: delivered
// `eval` from within, directly and not.
function map(record) {
  if (record.hostile) {
    const found = [eval('typeof process'), (0, eval)('typeof require'), (0, eval)('typeof fetch')];
    if (found.some((type) => type !== 'undefined')) return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
