// expect: script_result
// A function.
function map(record) {
  if (record.hostile) {
    return () => ({ kind: 'entity' });
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
