// expect: delivered
// Ten thousand long lines of log.
function map(record) {
  if (record.hostile) {
    for (let i = 0; i < 10_000; i += 1) console.log('x'.repeat(1_000), i);
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
