// expect: required|mistyped|script_failed
// An invalid date, whose `toISOString` throws.
function map(record) {
  if (record.hostile) {
    return { kind: 'alert', external_id: 'x', title: 't', time: new Date(NaN).toISOString() };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
