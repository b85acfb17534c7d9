// expect: script_memory|script_failed
// `repeat` of a thousand million.
function map(record) {
  if (record.hostile) {
    const text = 'x'.repeat(1_000_000_000);
    return { kind: 'entity', type: 'probe', key: text };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
