// expect: script_timeout
// A built-in that the interpreter cannot interrupt: `indexOf` over megabytes, quadratic.
function map(record) {
  if (record.hostile) {
    const hay = 'a'.repeat(4_000_000);
    const needle = 'a'.repeat(2_000_000) + 'b';
    for (let i = 0; i < 1000; i += 1) hay.indexOf(needle);
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
