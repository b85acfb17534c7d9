// expect: script_failed|script_timeout
// A proxy whose prototype is itself through a trap.
function map(record) {
  if (record.hostile) {
    const proxy = new Proxy({}, { getPrototypeOf: () => proxy });
    return proxy instanceof Array ? null : { kind: 'entity', type: 'probe', key: 'contained' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
