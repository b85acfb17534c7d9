// expect: script_timeout|script_memory|script_failed
// Millions of digits as text.
function map(record) {
  if (record.hostile) {
    let big = 1n << 20_000_000n;
    return { kind: 'entity', type: 'probe', key: 'escaped' + big };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
