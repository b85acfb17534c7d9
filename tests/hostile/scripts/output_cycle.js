// expect: script_failed
// A result that holds itself.
function map(record) {
  if (record.hostile) {
    const made = { kind: 'entity', type: 'probe' };
    made.attributes = { made };
    return made;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
