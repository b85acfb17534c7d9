// expect: script_result
// A kind that there is not.
function map(record) {
  if (record.hostile) {
    return { kind: 'constructor', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
