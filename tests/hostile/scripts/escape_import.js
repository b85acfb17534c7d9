// expect: script_failed|script_result
// A module of the system.
function map(record) {
  if (record.hostile) {
    return import('os').then((os) => ({ kind: 'entity', type: 'probe', key: 'escaped' }));
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
