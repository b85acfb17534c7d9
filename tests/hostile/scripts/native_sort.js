// expect: script_timeout|script_memory
// A comparison that never settles, over a large list.
function map(record) {
  if (record.hostile) {
    const list = Array.from({ length: 2_000_000 }, (_, i) => i);
    for (;;) list.sort(() => 1);
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
