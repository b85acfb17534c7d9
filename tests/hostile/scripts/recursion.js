// expect: script_failed
// Calls without end.
function map(record) {
  if (record.hostile) {
    const call = () => call() + 1;
    call();
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
