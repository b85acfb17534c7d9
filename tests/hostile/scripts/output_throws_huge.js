// expect: script_failed|script_memory
// An error with a message of ten megabytes.
function map(record) {
  if (record.hostile) {
    throw new Error('x'.repeat(10_000_000));
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
