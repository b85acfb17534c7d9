// expect: script_failed
// `Function.prototype.call` replaced.
function map(record) {
  if (record.hostile) {
    Function.prototype.call = () => 'escaped';
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
