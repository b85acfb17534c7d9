# expect: script_failed|script_timeout|script_memory
# A shift by a thousand million.
def map(record, context):
    if record.get('hostile'):
        big = 1 << 1_000_000_000_000
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
