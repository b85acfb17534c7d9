// expect: delivered
// Up the chain of constructors of what the host handed in.
function map(record) {
  if (record.hostile) {
    const made = console.log.constructor('return typeof process + typeof require')();
    if (made !== 'undefinedundefined') return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
