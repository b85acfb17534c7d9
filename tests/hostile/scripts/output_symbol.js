// expect: script_result
// A symbol.
function map(record) {
  if (record.hostile) {
    return Symbol('kind');
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
