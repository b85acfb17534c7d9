// expect: nul_character|delivered
// A text that looks like the host's own mark for large integers.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', type: 'probe', key: '\u0000escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
