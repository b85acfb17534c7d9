// expect: script_memory
// A list that grows for ever.
function map(record) {
  if (record.hostile) {
    const list = [];
    for (;;) list.push({ list, text: 'x'.repeat(100) + list.length });
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
