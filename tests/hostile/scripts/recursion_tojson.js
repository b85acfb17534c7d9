// expect: script_failed|script_result|script_timeout|script_memory
// `toJSON` that gives ever new objects.
function map(record) {
  if (record.hostile) {
    const make = () => ({ inner: { toJSON: make } });
    return make();
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
