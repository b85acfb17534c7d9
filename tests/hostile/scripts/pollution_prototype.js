// expect: script_failed
// What is put on `Object.prototype` would be seen by every record.
function map(record) {
  if (record.hostile) {
    Object.prototype.key = 'escaped';
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
