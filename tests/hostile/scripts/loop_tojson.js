// expect: script_timeout
// `toJSON` never returns.
function map(record) {
  if (record.hostile) {
    return { toJSON() { for (;;); } };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
