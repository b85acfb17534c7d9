// expect: script_timeout
// An endless loop that tries to catch its own end.
function map(record) {
  if (record.hostile) {
    for (;;) { try { for (;;); } catch { /* again */ } }
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
