// expect: script_memory
// A map that grows for ever.
function map(record) {
  if (record.hostile) {
    const map_ = new Map();
    for (let i = 0; ; i += 1) map_.set('key ' + i, 'value ' + i);
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
