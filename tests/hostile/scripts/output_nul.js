// expect: nul_character
// A NUL character in a key.
function map(record) {
  if (record.hostile) {
    return { kind: 'entity', type: 'probe', key: 'a\u0000b' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
