// expect: script_memory|script_failed
// A text that doubles for ever.
function map(record) {
  if (record.hostile) {
    let text = 'x';
    for (;;) text += text;
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
