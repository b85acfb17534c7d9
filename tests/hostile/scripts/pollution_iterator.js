// expect: script_failed
// The iterator of lists replaced.
function map(record) {
  if (record.hostile) {
    Object.getPrototypeOf([][Symbol.iterator]()).next = () => ({ done: true });
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
