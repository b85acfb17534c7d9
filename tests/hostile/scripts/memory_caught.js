// expect: script_memory|script_timeout
// Memory that runs out and is caught, for ever.
function map(record) {
  if (record.hostile) {
    let keep = [];
    for (;;) { try { keep.push(new Array(10_000).fill(keep.length)); } catch { keep = []; } }
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
