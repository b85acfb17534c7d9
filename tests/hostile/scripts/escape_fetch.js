// expect: script_failed
// The network.
function map(record) {
  if (record.hostile) {
    return fetch('http://127.0.0.1/').then(() => ({ kind: 'entity', type: 'probe', key: 'escaped' }));
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
