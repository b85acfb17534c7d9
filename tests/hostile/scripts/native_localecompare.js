// expect: script_timeout|script_memory|script_failed
// Normalising a long text of combining marks, again and again.
function map(record) {
  if (record.hostile) {
    const text = '\u0344'.repeat(3_000_000);
    for (let i = 0; i < 1000; i += 1) text.normalize('NFKD').normalize('NFC');
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
