// expect: script_failed|script_result
// A file as a module.
function map(record) {
  if (record.hostile) {
    return import('/etc/passwd').then(() => ({ kind: 'entity', type: 'probe', key: 'escaped' }));
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
