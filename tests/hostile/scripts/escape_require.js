// expect: delivered
// Node's way in.
function map(record) {
  if (record.hostile) {
    const found = typeof require !== 'undefined' || typeof process !== 'undefined' || typeof module !== 'undefined';
    if (found) return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
