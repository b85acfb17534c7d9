// expect: script_timeout
// An endless loop.
function map(record) {
  if (record.hostile) {
    while (true);
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
