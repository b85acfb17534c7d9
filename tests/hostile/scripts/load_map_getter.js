// expect: script_failed|script_no_map
// at: load
// `map` is a getter that throws.
Object.defineProperty(globalThis, 'map', { get() { throw new Error('no'); } });
