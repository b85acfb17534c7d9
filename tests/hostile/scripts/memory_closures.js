// expect: script_memory
// Closures that keep each other.
function map(record) {
  if (record.hostile) {
    let last = null;
    for (;;) { const before = last; last = () => before; }
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
