// expect: delivered|script_failed
// `prepareStackTrace` would show the frames of the host.
function map(record) {
  if (record.hostile) {
    Error.prepareStackTrace = (error, frames) => frames;
    const frames = new Error('x').stack;
    if (Array.isArray(frames) && frames.some((frame) => frame.getThis && frame.getThis())) return { kind: 'entity', type: 'probe', key: 'escaped' };
  }
  return { kind: 'entity', type: 'probe', key: 'contained' };
}
