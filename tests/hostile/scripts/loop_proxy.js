// expect: script_timeout
// A proxy whose trap never returns, met while the result is read.
function map(record) {
  if (record.hostile) {
    return new Proxy({}, { ownKeys() { for (;;); } });
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
