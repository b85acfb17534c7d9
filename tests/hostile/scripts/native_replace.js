// expect: script_timeout|script_memory|script_failed
// `replaceAll` that grows what it reads.
function map(record) {
  if (record.hostile) {
    let text = 'aa';
    for (let i = 0; i < 60; i += 1) text = text.replaceAll('a', 'aa');
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
