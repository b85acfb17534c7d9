// expect: script_result|script_memory|value_too_large|script_timeout
// An object of a million keys.
function map(record) {
  if (record.hostile) {
    const attributes = {};
    for (let i = 0; i < 1_000_000; i += 1) attributes['k' + i] = i;
    return { kind: 'entity', type: 'probe', key: 'k', attributes };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
