# expect: script_failed|script_timeout|script_memory
# A text times a thousand million.
def map(record, context):
    if record.get('hostile'):
        text = 'x' * 10_000_000_000
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
