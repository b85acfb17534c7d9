// expect: script_failed
// `JSON.stringify` replaced, by which results go out.
function map(record) {
  if (record.hostile) {
    JSON.stringify = () => '{"kind":"entity","type":"probe","key":"escaped"}';
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
