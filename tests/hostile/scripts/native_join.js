// expect: script_timeout|script_memory|script_failed
// `join` of holes.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', type: 'probe', key: new Array(4_294_967_295).join('x') };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
