// expect: delivered
// A key `__proto__` in what is parsed.
function map(record) {
  if (record.hostile) {
    const made = JSON.parse('{"__proto__": {"key": "escaped"}}');
    const copy = Object.assign({}, made);
    if (({}).key === 'escaped') return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
