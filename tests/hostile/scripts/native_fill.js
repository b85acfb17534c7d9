// expect: script_timeout|script_memory|script_failed
// `fill` over four thousand million places.
function map(record) {
  if (record.hostile) {
    new Array(4_294_967_295).fill(0);
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
