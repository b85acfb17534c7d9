// expect: too_many_objects|script_result|script_memory|script_timeout
// A hundred thousand objects.
function map(record) {
  if (record.hostile) {
    return Array.from({ length: 100_000 }, () => ({ kind: 'entity', type: 'probe', key: 'k' }));
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
