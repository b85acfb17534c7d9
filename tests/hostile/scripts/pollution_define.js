// expect: script_failed
// The same by `defineProperty`.
function map(record) {
  if (record.hostile) {
    Object.defineProperty(Object.prototype, 'toJSON', { value: () => 'escaped' });
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
