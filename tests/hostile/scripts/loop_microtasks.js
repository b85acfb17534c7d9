// expect: script_timeout
// Promises that make more promises for ever.
function map(record) {
  if (record.hostile) {
    const again = () => Promise.resolve().then(again);
    again();
    return new Promise(() => {});
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
