// expect: delivered|script_result|unknown_field
// An object that only looks like a promise.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', type: 'probe', key: 'contained', then(resolve) { resolve({ key: 'escaped' }); } };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
