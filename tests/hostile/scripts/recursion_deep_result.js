// expect: script_result|script_failed
// A result of a hundred thousand levels.
function map(record) {
  if (record.hostile) {
    let value = {};
    for (let i = 0; i < 100_000; i += 1) value = { value };
    return value;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
