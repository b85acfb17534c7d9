// expect: delivered
// QuickJS's own modules for files and processes.
function map(record) {
  if (record.hostile) {
    const found = ['std', 'os', 'bjson', 'scriptArgs', 'load', 'loadFile', 'gc'].filter((name) => name in globalThis);
    if (found.length) return { kind: 'entity', type: 'probe', key: 'escaped ' + found };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
