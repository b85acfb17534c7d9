// expect: script_timeout|script_memory|script_failed
// A power with millions of digits.
function map(record) {
  if (record.hostile) {
    const big = 7n ** 40_000_000n;
    return { kind: 'entity', type: 'probe', key: 'escaped' + big };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
