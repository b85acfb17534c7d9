// expect: script_failed|script_timeout|script_memory
// JSON that nests a million levels.
function map(record) {
  if (record.hostile) {
    JSON.parse('['.repeat(1_000_000));
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
