// expect: script_timeout
// Spreading an iterator that never ends.
function map(record) {
  if (record.hostile) {
    const endless = { [Symbol.iterator]() { return { next: () => ({ done: false }) }; } };
    let n = 0;
    for (const one of endless) n += 1;
    return { kind: 'entity', type: 'probe', key: String(n) };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
