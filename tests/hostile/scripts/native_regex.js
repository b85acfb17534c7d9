// expect: script_timeout|script_failed
// A regular expression that backtracks exponentially.
function map(record) {
  if (record.hostile) {
    return /^(a+)+$/.test('a'.repeat(40) + 'b') ? null : null;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
