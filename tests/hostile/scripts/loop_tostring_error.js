// expect: script_timeout
// The message of the thrown error never ends.
function map(record) {
  if (record.hostile) {
    throw { toString() { for (;;); } };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
