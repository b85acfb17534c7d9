// expect: delivered
// A clock to measure time by.
function map(record) {
  if (record.hostile) {
    const began = Date.now();
    for (let i = 0; i < 200_000; i += 1);
    if (Date.now() !== began || new Date().getTime() !== began || typeof performance !== 'undefined') return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
