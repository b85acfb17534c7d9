// expect: script_timeout
// An async function that never lets go.
function map(record) {
  if (record.hostile) {
    return (async () => { for (;;) await null; })();
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
