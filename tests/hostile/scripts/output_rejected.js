// expect: script_failed
// A promise that is rejected with a getter in its reason.
function map(record) {
  if (record.hostile) {
    return Promise.reject(new (class extends Error { get message() { return 'no'; } })());
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
