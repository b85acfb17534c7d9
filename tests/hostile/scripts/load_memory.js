// expect: script_memory|script_failed
// at: load
// Takes memory while it is read.
const text = 'x'.repeat(1_000_000_000);
function map() { return null; }
