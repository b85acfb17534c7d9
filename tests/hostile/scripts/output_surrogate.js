// expect: script_result|delivered
// Half a surrogate pair.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', type: 'probe', key: 'contained', attributes: { half: '\ud800' } };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
