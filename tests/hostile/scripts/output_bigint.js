// expect: script_result
// A bare integer of any size.
function map(record) {
  if (record.hostile) {
    return 2n ** 200n;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
