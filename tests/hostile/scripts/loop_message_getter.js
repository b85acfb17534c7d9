// expect: script_timeout
// The `message` of the thrown error is a getter that never ends.
function map(record) {
  if (record.hostile) {
    const error = new Error('x');
    Object.defineProperty(error, 'name', { get() { for (;;); } });
    throw error;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
