// expect: script_result
// Not a number.
function map(record) {
  if (record.hostile) {
    return NaN + 1 || 0 / 0 || 7;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
