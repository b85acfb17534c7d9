// expect: delivered
// The `Function` constructor sees globals only, and they lead nowhere.
function map(record) {
  if (record.hostile) {
    const world = new Function('return this')() || Function('return globalThis')();
    const names = Object.getOwnPropertyNames(world);
    const bad = names.filter((name) => /fetch|socket|file|process|worker|xmlhttp|deno|bun|env/i.test(name));
    if (bad.length) return { kind: 'entity', type: 'probe', key: 'escaped ' + bad };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
