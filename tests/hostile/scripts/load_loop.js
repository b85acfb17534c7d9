// expect: script_timeout
// at: load
// The script never ends being read.
for (;;);
function map() { return null; }
