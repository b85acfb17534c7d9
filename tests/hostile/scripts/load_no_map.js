// expect: script_no_map
// at: load
// No `map`.
const other = 1;
