// expect: delivered|script_memory
// Values that a script keeps from one record to the next.
const kept = [];
function map(record) {
  if (record.hostile) for (let i = 0; i < 20; i += 1) kept.push('x'.repeat(1_000_000) + i);
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
