// expect: script_timeout
// A getter of the result never returns.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', get type() { for (;;); }, key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
