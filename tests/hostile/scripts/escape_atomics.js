// expect: delivered|script_failed
// Sleeping without using the processor.
function map(record) {
  if (record.hostile) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
