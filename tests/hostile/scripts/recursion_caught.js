// expect: script_failed|script_timeout|delivered
// Calls without end, caught at each level.
function map(record) {
  if (record.hostile) {
    const call = () => { try { call(); } catch { call(); } };
    call();
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
