// expect: script_memory
// `throw null`.
function map(record) {
  if (record.hostile) {
    throw null;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
