// expect: script_failed
// at: load
// Not a script at all.
function map(record { return
