// expect: script_memory|script_failed
// A buffer of a gigabyte.
function map(record) {
  if (record.hostile) {
    const buffer = new ArrayBuffer(1_000_000_000);
    return { kind: 'entity', type: 'probe', key: 'escaped' + buffer.byteLength };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
