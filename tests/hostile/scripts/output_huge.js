// expect: script_result|script_memory|value_too_large
// A result of twenty megabytes.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', type: 'probe', key: 'k', attributes: { text: 'x'.repeat(20_000_000) } };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
