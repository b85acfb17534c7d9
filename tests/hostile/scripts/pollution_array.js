// expect: script_failed
// `Array.prototype.map` replaced.
function map(record) {
  if (record.hostile) {
    Array.prototype.map = () => ['escaped'];
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
