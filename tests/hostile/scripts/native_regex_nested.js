// expect: script_timeout|script_failed
// Nested quantifiers over a long text.
function map(record) {
  if (record.hostile) {
    return /(x+x+)+y/.test('x'.repeat(5000)) ? null : { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
