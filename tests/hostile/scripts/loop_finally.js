// expect: script_timeout
// A `finally` that would start the loop anew.
function map(record) {
  if (record.hostile) {
    const spin = () => { try { for (;;); } finally { spin(); } };
    spin();
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
