// expect: script_timeout|script_memory
// `includes` on a list of a hundred million holes.
function map(record) {
  if (record.hostile) {
    const list = [];
    list.length = 4_294_967_295;
    for (let i = 0; i < 50; i += 1) if (list.includes(7)) return null;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
