// expect: script_timeout
// at: load
// A built-in that the interpreter cannot interrupt, before there is any record: the process is killed over the script.
const hay = 'a'.repeat(4_000_000);
const needle = 'a'.repeat(2_000_000) + 'b';
for (let i = 0; i < 1000; i += 1) hay.indexOf(needle);
function map() { return null; }
