// expect: script_result
// A promise that nothing resolves.
function map(record) {
  if (record.hostile) {
    return new Promise(() => {});
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
